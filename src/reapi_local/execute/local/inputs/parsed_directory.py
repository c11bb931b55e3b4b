"""One Directory message of an input root, parsed, checked, and split into parts.

Layers consist of parts. The split depends on the names of entries, so when one entry changes, most
parts stay the same and layers on disk can be reused.

Source: REAPI v2, messages ``Directory`` and ``NodeProperties``. No I/O.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple
from zlib import crc32

from reapi_local.errors import InvalidRequest
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, DigestFunction, parse_digests
from reapi_local.protocol.tree import parse_directory

DEFAULT_MTIME_NS: Final = 946_684_800_000_000_000
"""2000-01-01, for entries without an mtime. A fixed time, so that outputs can't depend on when a
layer was written."""
LARGE_FILE_BYTES: Final = 1024 * 1024
"""A file larger than this is a part by itself."""

_NANOS_PER_SECOND: Final = 1_000_000_000
_MIN_SECONDS, _MAX_SECONDS = -62_135_596_800, 253_402_300_799  # the range of protobuf's Timestamp
_MAX_NAME_BYTES, _MAX_TARGET_BYTES = 255, 4095

# Writing a file costs about as much as writing 64 KiB of content: that is weight 1.
_BYTES_PER_WEIGHT: Final = 64 * 1024
_MIN_PART_WEIGHT, _MAX_PART_WEIGHT = 6, 24
_ONE_BOUNDARY_IN: Final = 8


class File(NamedTuple):
    name: bytes
    digest: Digest
    mode: int
    mtime_ns: int


class Symlink(NamedTuple):
    name: bytes
    target: bytes
    mtime_ns: int


class DirectoryProperties(NamedTuple):
    """Permissions and modification time of a directory."""

    mode: int = 0o755
    mtime_ns: int = DEFAULT_MTIME_NS


DEFAULT_PROPERTIES: Final = DirectoryProperties()


class Part(NamedTuple):
    """Some of the files and symlinks of one directory; no entries for an empty directory.

    ``key``: a hash of the entries. ``weight``: the cost of writing it, in small files.
    ``boundary_hash``: a hash of the first name. ``layer_plan`` decides with it whether a layer ends
    before this part. ``large_bytes``: the size of the only file if that is large, else 0.
    """

    entries: tuple[File | Symlink, ...]
    key: bytes
    weight: int
    boundary_hash: int
    large_bytes: int = 0


class ParsedDirectory(NamedTuple):
    """``parts`` have the ``entry_count`` files and symlinks; ``children`` are directories by name.

    Entries and children are sorted by name.
    """

    parts: tuple[Part, ...]
    children: tuple[tuple[bytes, Digest], ...]
    properties: DirectoryProperties
    entry_count: int

    def files(self) -> Iterator[File]:
        """The files directly in this directory."""
        for part in self.parts:
            for entry in part.entries:
                if isinstance(entry, File):
                    yield entry


def parse_input_directory(data: bytes, function: DigestFunction) -> ParsedDirectory:
    """Parse the blob of a Directory; digests in it are of the digest function ``function``.

    Raises:
        InvalidRequest: it isn't a Directory, or has entries that no file system can store.
    """
    message = parse_directory(data)
    entries: list[File | Symlink] = [*_files(message, function), *_symlinks(message)]
    entries.sort(key=lambda entry: entry.name)
    children = sorted(_children(message, function))
    _check_names([entry.name for entry in entries] + [name for name, _ in children])
    parts = tuple(_split(entries, has_children=bool(children)))
    properties = DirectoryProperties(*_properties(message, DEFAULT_PROPERTIES.mode))
    return ParsedDirectory(parts, tuple(children), properties, len(entries))


def _files(message: re_pb2.Directory, function: DigestFunction) -> Iterator[File]:
    nodes = message.files
    digests = parse_digests([node.digest for node in nodes], function)
    for node, digest in zip(nodes, digests, strict=True):
        mode, mtime_ns = 0o755 if node.is_executable else 0o644, DEFAULT_MTIME_NS
        if node.HasField("node_properties"):
            mode, mtime_ns = _properties(node, mode)
        yield File(node.name.encode(), digest, mode, mtime_ns)


def _symlinks(message: re_pb2.Directory) -> Iterator[Symlink]:
    for node in message.symlinks:
        target = node.target.encode()
        if not 0 < len(target) <= _MAX_TARGET_BYTES or b"\0" in target:
            raise InvalidRequest(f"the symlink {node.name!r} can't have the target {node.target!r}")
        yield Symlink(node.name.encode(), target, _properties(node, 0)[1])


def _children(
    message: re_pb2.Directory, function: DigestFunction
) -> Iterator[tuple[bytes, Digest]]:
    nodes = message.directories
    digests = parse_digests([node.digest for node in nodes], function)
    for node, digest in zip(nodes, digests, strict=True):
        yield node.name.encode(), digest


def _properties(
    node: re_pb2.Directory | re_pb2.FileNode | re_pb2.SymlinkNode, default_mode: int
) -> tuple[int, int]:
    """The permissions and mtime of a node, or the defaults.

    Set-uid, set-gid and sticky bits are dropped: an input must not give another user's rights.
    """
    if not node.HasField("node_properties"):
        return default_mode, DEFAULT_MTIME_NS
    properties, mode, mtime_ns = node.node_properties, default_mode, DEFAULT_MTIME_NS
    if properties.HasField("unix_mode"):
        mode = properties.unix_mode.value & 0o777
    if properties.HasField("mtime"):
        seconds, nanos = properties.mtime.seconds, properties.mtime.nanos
        if not (_MIN_SECONDS <= seconds <= _MAX_SECONDS and 0 <= nanos < _NANOS_PER_SECOND):
            raise InvalidRequest(f"a node has an mtime of {seconds} s and {nanos} ns: out of range")
        mtime_ns = seconds * _NANOS_PER_SECOND + nanos
    return mode, mtime_ns


def _check_names(names: list[bytes]) -> None:
    if len(set(names)) != len(names):
        duplicate = next(name for name, other in pairwise(sorted(names)) if name == other)
        raise InvalidRequest(f"a Directory has two entries named {duplicate.decode()!r}")
    longest = max(names, key=len, default=b"")
    if len(longest) > _MAX_NAME_BYTES:
        raise InvalidRequest(
            f"a Directory has an entry whose name is longer than {_MAX_NAME_BYTES} bytes: "
            f"{longest.decode()}"
        )


def _split(entries: list[File | Symlink], *, has_children: bool) -> Iterator[Part]:
    """Split sorted entries into parts by content-defined chunking.

    A part may end only before a name whose hash is a multiple of 8. Parts of a fixed number of
    entries would all shift when one entry is added; these boundaries stay where they are, so a
    change affects the part it is in, and rarely a neighbour. The minimum and maximum weight keep
    parts from being tiny or huge if the names give too many boundaries or none.
    """
    if not entries and not has_children:
        yield _part([], 1)
    part: list[File | Symlink] = []
    weight = 0
    for entry in entries:
        size = entry.digest.size_bytes if isinstance(entry, File) else 0
        own_weight = 1 + size // _BYTES_PER_WEIGHT
        if size > LARGE_FILE_BYTES:
            yield _part([entry], own_weight, size)
            continue
        is_boundary = weight >= _MIN_PART_WEIGHT and crc32(entry.name) % _ONE_BOUNDARY_IN == 0
        if is_boundary or weight >= _MAX_PART_WEIGHT:
            yield _part(part, weight)
            part, weight = [], 0
        part.append(entry)
        weight += own_weight
    if part:
        yield _part(part, weight)


def _part(entries: list[File | Symlink], weight: int, large_bytes: int = 0) -> Part:
    key = hashlib.blake2b(b"".join(map(_encode, entries)), digest_size=20).digest()
    boundary_hash = crc32(entries[0].name) if entries else 0
    return Part(tuple(entries), key, weight, boundary_hash, large_bytes)


def _encode(entry: File | Symlink) -> bytes:
    """Bytes to hash. They are prefix-free, so different lists of entries have different bytes."""
    if isinstance(entry, Symlink):
        return b"%b\0symlink %b\0%d\n" % entry
    name, digest, mode, mtime_ns = entry
    return b"%b\0file %o %d %b" % (name, mode, mtime_ns, digest)
