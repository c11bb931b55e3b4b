"""Digests: the name of a blob is its hash function, its hash and its size in bytes.

Source: REAPI v2, messages ``Digest`` and ``DigestFunction``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import Final, Protocol

from reapi_local.errors import InvalidRequest

_SIZE_BYTES: Final = 8
_MAX_SIZE: Final = (1 << 63) - 1


class Hasher(Protocol):
    """The methods of :mod:`hashlib`'s objects that are used here."""

    def update(self, data: bytes | bytearray | memoryview, /) -> object: ...

    def digest(self) -> bytes: ...


class DigestFunction(IntEnum):
    """The digest functions of this server, with their REAPI numbers."""

    SHA256 = 1
    SHA384 = 5
    SHA512 = 6
    BLAKE3 = 9


def _blake3(data: bytes = b"") -> Hasher:
    from blake3 import blake3

    return blake3(data)


_HASHERS: Final[dict[DigestFunction, Callable[..., Hasher]]] = {
    DigestFunction.SHA256: hashlib.sha256,
    DigestFunction.SHA384: hashlib.sha384,
    DigestFunction.SHA512: hashlib.sha512,
    DigestFunction.BLAKE3: _blake3,
}
_HASH_BYTES: Final = {
    DigestFunction.SHA256: 32,
    DigestFunction.SHA384: 48,
    DigestFunction.SHA512: 64,
    DigestFunction.BLAKE3: 32,
}
HASH_DIGITS: Final = {function: 2 * length for function, length in _HASH_BYTES.items()}
"""How many hexadecimal digits a hash has, by function."""

_BY_NUMBER: Final = {function.value: function for function in DigestFunction}
# Without BLAKE3, whose hashes are as long as those of SHA-256.
_BY_HEX_LENGTH: Final = {
    64: DigestFunction.SHA256,
    96: DigestFunction.SHA384,
    128: DigestFunction.SHA512,
}


class DigestMessage(Protocol):
    """The wire form: ``build.bazel.remote.execution.v2.Digest``."""

    @property
    def hash(self) -> str: ...

    @property
    def size_bytes(self) -> int: ...


class Digest(bytes):
    """A digest as the store's key: function (1 byte), hash, size (8 bytes, big-endian).

    Because it is the key itself, it costs only one object, which matters for requests with
    thousands of digests. A digest with the right hash and a wrong size finds no blob.
    """

    __slots__ = ()

    @property
    def function(self) -> DigestFunction:
        return _BY_NUMBER[self[0]]

    @property
    def hash_hex(self) -> str:
        """The hash in lower-case hexadecimal, as on the wire."""
        return bytes(self[1:-_SIZE_BYTES]).hex()

    @property
    def size_bytes(self) -> int:
        return int.from_bytes(self[-_SIZE_BYTES:], "big")

    @property
    def without_size(self) -> bytes:
        """Function and hash, which alone identify an action."""
        return self[:-_SIZE_BYTES]

    def __str__(self) -> str:
        return f"{self.hash_hex}/{self.size_bytes}"

    def __repr__(self) -> str:
        return f"Digest({self.function.name} {self})"


def without_size_bytes(function: int) -> int:
    """The length of :attr:`Digest.without_size` for this function."""
    return 1 + _HASH_BYTES[_BY_NUMBER[function]]


def new_hasher(function: DigestFunction) -> Hasher:
    """A fresh hash object for ``function``."""
    return _HASHERS[function]()


def digest_of(data: bytes, function: DigestFunction = DigestFunction.SHA256) -> Digest:
    """The digest of these bytes."""
    return make_digest(function, _HASHERS[function](data).digest(), len(data))


def make_digest(function: DigestFunction, raw_hash: bytes, size_bytes: int) -> Digest:
    """A digest from a hash whose length is known to be right for ``function``."""
    return Digest(bytes((function,)) + raw_hash + size_bytes.to_bytes(_SIZE_BYTES, "big"))


def function_for(number: int, hash_hex: str = "") -> DigestFunction:
    """The digest function of a request.

    ``number`` is its ``digest_function`` field. If that is not set, the length of a hash decides
    (REAPI v2, ``DigestFunction``); without a hash it is SHA-256.

    Raises:
        InvalidRequest: the function isn't supported, or no function has hashes of that length.
    """
    if number:
        function = _BY_NUMBER.get(number)
        if function is None:
            offered = ", ".join(function.name for function in DigestFunction)
            raise InvalidRequest(
                f"digest function number {number} isn't supported; use one of {offered}"
            )
        return function
    if not hash_hex:
        return DigestFunction.SHA256
    function = _BY_HEX_LENGTH.get(len(hash_hex))
    if function is None:
        raise InvalidRequest(
            f"digest hash {hash_hex!r} has {len(hash_hex)} characters; a SHA-256 hash has 64, "
            "SHA-384 96, SHA-512 128 (lower-case hexadecimal)"
        )
    return function


def digest_from_key(without_size: bytes, size_bytes: int) -> Digest:
    """A digest from its :attr:`Digest.without_size`."""
    return Digest(without_size + size_bytes.to_bytes(_SIZE_BYTES, "big"))


def parse_digest(message: DigestMessage, function_number: int = 0) -> Digest:
    """Parse one digest message.

    Raises:
        InvalidRequest: the hash isn't lower-case hexadecimal of the right length, or the size
            is negative.
    """
    function = function_for(function_number, message.hash)
    return parse_digest_text(function, message.hash, message.size_bytes)


def parse_digest_text(function: DigestFunction, hash_hex: str, size_bytes: int) -> Digest:
    """Parse one digest from its parts; raises as :func:`parse_digest` does."""
    try:
        raw = bytes.fromhex(hash_hex)
    except ValueError:
        raw = b""
    # The comparison also catches upper case and white space, which fromhex accepts.
    if len(raw) != _HASH_BYTES[function] or raw.hex() != hash_hex:
        raise InvalidRequest(
            f"digest hash {hash_hex!r} isn't a {function.name} hash: expected "
            f"{2 * _HASH_BYTES[function]} lower-case hexadecimal characters"
        )
    if not 0 <= size_bytes <= _MAX_SIZE:
        raise InvalidRequest(f"digest {hash_hex}/{size_bytes}: the size can't be {size_bytes}")
    return make_digest(function, raw, size_bytes)


def parse_action_digest(message: DigestMessage, function_number: int = 0) -> Digest:
    """Parse the digest of an action, whose size a client may not know; raises likewise.

    A size of -1, which caches in front of this server send, becomes 0.
    """
    function = function_for(function_number, message.hash)
    size_bytes = message.size_bytes
    return parse_digest_text(function, message.hash, 0 if size_bytes == -1 else size_bytes)


def parse_digests(messages: Sequence[DigestMessage], function_number: int = 0) -> list[Digest]:
    """Parse the digests of one request, in its order; raises as :func:`parse_digest` does.

    The loop is inlined for speed, because a FindMissingBlobs may have a hundred thousand digests.
    """
    if not messages:
        return []
    function = function_for(function_number, messages[0].hash)
    tag, length, from_hex = bytes((function,)), _HASH_BYTES[function], bytes.fromhex
    digests: list[Digest] = []
    append = digests.append
    for message in messages:
        hash_hex, size = message.hash, message.size_bytes
        try:
            raw = from_hex(hash_hex)
        except ValueError:
            raw = b""
        if len(raw) != length or raw.hex() != hash_hex or size < 0:
            append(parse_digest(message, function_number))  # another digest function, or an error
        else:
            append(Digest(tag + raw + size.to_bytes(8, "big")))
    return digests


EMPTY_BLOBS: Final[frozenset[Digest]] = frozenset(digest_of(b"", f) for f in DigestFunction)
"""The empty blob, which every store holds without an upload (REAPI v2, FindMissingBlobs)."""


def without_empty(digests: Iterable[Digest]) -> list[Digest]:
    """The digests without those of the empty blob."""
    return [digest for digest in digests if digest not in EMPTY_BLOBS]
