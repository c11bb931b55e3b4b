"""What looking at a store needs of it, and which object somebody means who names a digest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, Protocol

from reapi_contract.inspection import MIN_PREFIX
from reapi_local.access.principal import Principal
from reapi_local.context import Context
from reapi_local.errors import InvalidRequest, ObjectNotFound
from reapi_local.protocol.digest import (
    EMPTY_BLOBS,
    HASH_DIGITS,
    Digest,
    digest_from_key,
)
from reapi_local.protocol.lookup import Lookup
from reapi_local.store.blob_store import BlobReader

_MAX_CANDIDATES: Final = 1000
_MAX_NAMED: Final = 5
_HEXADECIMAL: Final = frozenset("0123456789abcdef")


class Readable(Protocol):
    """What directories can be read from."""

    async def read_many(
        self, context: Context, digests: Sequence[Digest]
    ) -> Mapping[Digest, bytes]: ...


class Blobs(Readable, Protocol):
    """The part of a blob store that is needed."""

    def digests_with(self, without_size: bytes) -> list[Digest]: ...

    def open_read(
        self, context: Context, digest: Digest, offset: int = 0, limit: int = 0
    ) -> AbstractAsyncContextManager[BlobReader]: ...


class Entries(Protocol):
    """The part of an action cache that is needed; entries need not be complete."""

    def actions_with(self, beginning: bytes, limit: int) -> list[tuple[bytes, str]]: ...

    async def get(self, context: Context, action: Digest) -> Lookup: ...


@dataclass(frozen=True)
class Meant:
    """The object that somebody means.

    ``instances``: in which the action cache has an entry for it; so it is an action. ``context``:
    that of a call to the first of them, or to the instance that was asked for.
    """

    digest: Digest
    instances: tuple[str, ...]
    context: Context


class Finder:
    """Finds objects by the text of a digest: HASH/SIZE, HASH, or the beginning of a hash.

    A hash that is not whole can only be that of an action with a result: of other blobs nobody
    learns what others keep here.
    """

    def __init__(self, blobs: Blobs, entries: Entries, principal: Principal) -> None:
        self._blobs, self._entries, self._principal = blobs, entries, principal

    def find(self, text: str, instance: str | None) -> Meant:
        """The object. ``instance``: None = any.

        Raises:
            InvalidRequest: the text is no digest, or more than one action is meant.
            ObjectNotFound: there is no such blob, and no result for such an action.
        """
        beginning, size_bytes = _parts(text)
        actions = self._actions(beginning, instance)
        if len(actions) > 1:
            named = ", ".join(key[1:].hex()[:16] for key in list(actions)[:_MAX_NAMED])
            raise InvalidRequest(f"{beginning} begins the hashes of several actions: {named}")
        for key, instances in actions.items():
            digest = self._held(key, size_bytes) or digest_from_key(key, size_bytes or 0)
            return self._meant(digest, tuple(instances), instance)
        for function, digits in HASH_DIGITS.items():
            if digits == len(beginning):
                held = self._held(bytes((function,)) + bytes.fromhex(beginning), size_bytes)
                if held is not None:
                    return self._meant(held, (), instance)
        raise ObjectNotFound(
            f"the store has no blob {text}, and the action cache no result for such an action"
        )

    def _actions(self, beginning: str, instance: str | None) -> dict[bytes, list[str]]:
        """The instances of each action with a result whose hash begins so, by function and hash."""
        found: dict[bytes, list[str]] = {}
        whole_bytes = bytes.fromhex(beginning[: len(beginning) // 2 * 2])
        for function in HASH_DIGITS:
            start = bytes((function,)) + whole_bytes
            for key, holder in self._entries.actions_with(start, _MAX_CANDIDATES):
                if key[1:].hex().startswith(beginning) and instance in (None, holder):
                    found.setdefault(key, []).append(holder)
        return found

    def _held(self, key: bytes, size_bytes: int | None) -> Digest | None:
        empty = [digest for digest in EMPTY_BLOBS if digest.without_size == key]
        for digest in empty or self._blobs.digests_with(key):
            if size_bytes in (None, digest.size_bytes):
                return digest
        return None

    def _meant(self, digest: Digest, instances: tuple[str, ...], instance: str | None) -> Meant:
        chosen = instance if instance is not None else next(iter(instances), "")
        return Meant(digest, instances, Context(self._principal, chosen, b""))


def _parts(text: str) -> tuple[str, int | None]:
    """The digits of a hash, and the size if it is there."""
    beginning, slash, size = text.lower().partition("/")
    if set(beginning) - _HEXADECIMAL or (slash and not (size.isascii() and size.isdigit())):
        raise InvalidRequest(f"{text[:200]!r} is no digest: write HASH/SIZE, or only the HASH")
    if not MIN_PREFIX <= len(beginning) <= max(HASH_DIGITS.values()):
        raise InvalidRequest(
            f"{text[:200]!r} is no digest: a hash has 64, 96 or 128 hexadecimal digits, and at "
            f"least {MIN_PREFIX} of them are needed to find an action"
        )
    return beginning, int(size[:19]) if slash else None
