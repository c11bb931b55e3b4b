"""ByteStream resource names, which say what a call reads or uploads.

Forms (REAPI v2, ContentAddressableStorage; ``{}`` filled in, ``[]`` optional)::

    [{instance}/]blobs/[{function}/]{hash}/{size}
    [{instance}/]uploads/{uuid}/blobs/[{function}/]{hash}/{size}[/{anything}]
    …/compressed-blobs/zstd/[{function}/]{hash}/{size}…

Hash and size are always those of the uncompressed bytes. Other compressors aren't supported.

A leading slash, which some clients send with an empty instance, is ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from reapi_local.errors import InvalidRequest
from reapi_local.protocol.digest import Digest, DigestFunction, function_for, parse_digest_text
from reapi_local.protocol.instance import RESERVED_SEGMENTS, check_instance_name

# REAPI needs this segment only if the length of the hash is ambiguous; here it is optional.
_FUNCTION_SEGMENTS = {function.name.lower(): function for function in DigestFunction}

_MAX_UPLOAD_CHARACTERS: Final = 255
"""A UUID has 36. The server remembers the names of uploads that broke off."""


@dataclass(frozen=True)
class ReadName:
    """The resource of a read."""

    instance: str
    digest: Digest
    is_compressed: bool = False


@dataclass(frozen=True)
class UploadName:
    """The resource of a write. ``upload``: the client's identifier, normally a UUID."""

    instance: str
    upload: str
    digest: Digest
    is_compressed: bool = False


def instance_of_resource(name: str) -> str:
    """The instance that a resource name begins with; raises InvalidRequest if it is malformed."""
    return _split(name)[0]


def parse_read_name(name: str) -> ReadName:
    """The blob that ``ByteStream.Read`` asks for.

    Raises:
        InvalidRequest: ``name`` has none of the forms above.
    """
    instance, segments = _split(name)
    is_compressed, digest, rest = _parse_blob(name, segments)
    if rest:
        raise _bad(name, f"{'/'.join(rest)!r} follows the size")
    return ReadName(instance, digest, is_compressed)


def parse_write_name(name: str) -> UploadName:
    """The upload of a ``ByteStream.Write`` or ``QueryWriteStatus``; raises likewise.

    Text after the size is ignored, as REAPI requires: clients put file names there.
    """
    instance, segments = _split(name)
    if len(segments) < 2 or segments[0] != "uploads" or not segments[1]:
        raise _bad(name, "a write needs uploads/{uuid}/ before blobs/")
    if len(segments[1]) > _MAX_UPLOAD_CHARACTERS:
        raise _bad(name, f"{{uuid}} has more than {_MAX_UPLOAD_CHARACTERS} characters")
    is_compressed, digest, _ = _parse_blob(name, segments[2:])
    return UploadName(instance, segments[1], digest, is_compressed)


def _split(name: str) -> tuple[str, list[str]]:
    segments = name.removeprefix("/").split("/")
    for position, segment in enumerate(segments):
        if segment in RESERVED_SEGMENTS:
            return check_instance_name("/".join(segments[:position])), segments[position:]
    raise _bad(name, "it has neither blobs/ nor uploads/")


def _parse_blob(name: str, segments: list[str]) -> tuple[bool, Digest, list[str]]:
    is_compressed = segments[:2] == ["compressed-blobs", "zstd"]
    if not is_compressed and segments[:1] == ["compressed-blobs"]:
        raise _bad(name, "this server knows no compressor but zstd; use compressed-blobs/zstd/")
    if not is_compressed and segments[:1] != ["blobs"]:
        raise _bad(name, "blobs/{hash}/{size} is missing")
    parts = segments[2:] if is_compressed else segments[1:]
    function = _FUNCTION_SEGMENTS.get(parts[0]) if parts else None
    if function is not None:
        parts = parts[1:]
    if len(parts) < 2:
        raise _bad(name, "blobs/ must be followed by {hash}/{size}")
    hash_hex, size, *rest = parts
    # int() would also accept signs, underscores and digits of other alphabets.
    if not (size.isascii() and size.isdigit()) or len(size) > 19:
        raise _bad(name, f"the size {size!r} isn't a decimal number of bytes")
    function = function or function_for(0, hash_hex)
    return is_compressed, parse_digest_text(function, hash_hex, int(size)), rest


def _bad(name: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"resource name {name[:300]!r}: {why}")
