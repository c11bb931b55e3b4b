"""One Directory of an input root, split into parts that stay the same when others change.

Source: REAPI v2, messages ``Directory`` and ``NodeProperties``. No I/O in here.
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

MTIME_NS: Final = 946_684_800_000_000_000
"""2000-01-01: for what has no time of its own, so that none tells when a tree was cached."""
HEAVY_BYTES: Final = 1024 * 1024
"""A file larger than this is a part of its own."""

_NANOS: Final = 1_000_000_000
_EARLIEST, _LATEST = -62_135_596_800, 253_402_300_799  # what a Timestamp may say
_LONGEST_NAME, _LONGEST_TARGET = 255, 4095
_WEIGHT_BYTES: Final = 64 * 1024
_SMALLEST_PART, _LARGEST_PART, _ONE_CUT_IN = 6, 24, 8


class File(NamedTuple):
    name: bytes
    digest: Digest
    mode: int
    mtime_ns: int


class Symlink(NamedTuple):
    name: bytes
    target: bytes
    mtime_ns: int


class Properties(NamedTuple):
    """Of a directory."""

    mode: int = 0o755
    mtime_ns: int = MTIME_NS


PLAIN: Final = Properties()


class Part(NamedTuple):
    """Some of the files and symlinks right in one directory; none for a directory that is empty.

    ``key`` is a hash of all that. ``weight``: about what writing it costs, in small files.
    ``mark`` is as good as random, and the same for as long as the first name is. ``heavy_bytes``:
    the size of its only file if that is a heavy one, else 0.
    """

    entries: tuple[File | Symlink, ...]
    key: bytes
    weight: int
    mark: int
    heavy_bytes: int = 0


class ParsedDirectory(NamedTuple):
    """A directory: its files and symlinks in parts, ``size`` in all; sub-directories by name."""

    parts: tuple[Part, ...]
    children: tuple[tuple[bytes, Digest], ...]
    properties: Properties
    size: int

    def files(self) -> Iterator[File]:
        """The files right in it."""
        for part in self.parts:
            for entry in part.entries:
                if isinstance(entry, File):
                    yield entry


def parse_input_directory(data: bytes, function: DigestFunction) -> ParsedDirectory:
    """A folder from the blob of a Directory; its digests are of this function.

    Raises:
        InvalidRequest: it isn't a Directory, or has entries that no file system takes.
    """
    message = parse_directory(data)
    entries: list[File | Symlink] = [*_files(message, function), *_symlinks(message)]
    entries.sort(key=lambda entry: entry.name)
    children = sorted(_children(message, function))
    _check_names([entry.name for entry in entries] + [name for name, _ in children])
    parts = tuple(_parts(entries, is_leaf=not children))
    properties = Properties(*_properties(message, PLAIN.mode))
    return ParsedDirectory(parts, tuple(children), properties, len(entries))


def _files(message: re_pb2.Directory, function: DigestFunction) -> Iterator[File]:
    nodes = message.files
    digests = parse_digests([node.digest for node in nodes], function)
    for node, digest in zip(nodes, digests, strict=True):
        mode, mtime_ns = 0o755 if node.is_executable else 0o644, MTIME_NS
        if node.HasField("node_properties"):
            mode, mtime_ns = _properties(node, mode)
        yield File(node.name.encode(), digest, mode, mtime_ns)


def _symlinks(message: re_pb2.Directory) -> Iterator[Symlink]:
    for node in message.symlinks:
        target = node.target.encode()
        if not 0 < len(target) <= _LONGEST_TARGET or b"\0" in target:
            raise InvalidRequest(f"the symlink {node.name!r} can't lead to {node.target!r}")
        yield Symlink(node.name.encode(), target, _properties(node, 0)[1])


def _children(
    message: re_pb2.Directory, function: DigestFunction
) -> Iterator[tuple[bytes, Digest]]:
    nodes = message.directories
    digests = parse_digests([node.digest for node in nodes], function)
    for node, digest in zip(nodes, digests, strict=True):
        yield node.name.encode(), digest


def _properties(
    node: re_pb2.Directory | re_pb2.FileNode | re_pb2.SymlinkNode, mode: int
) -> tuple[int, int]:
    """Permissions and time of a node; ``mode`` where it says nothing.

    Set-uid, set-gid and sticky are left out: inputs give nobody another's rights.
    """
    if not node.HasField("node_properties"):
        return mode, MTIME_NS
    properties, mtime_ns = node.node_properties, MTIME_NS
    if properties.HasField("unix_mode"):
        mode = properties.unix_mode.value & 0o777
    if properties.HasField("mtime"):
        seconds, nanos = properties.mtime.seconds, properties.mtime.nanos
        if not (_EARLIEST <= seconds <= _LATEST and 0 <= nanos < _NANOS):
            raise InvalidRequest(f"a node has an mtime of {seconds} s and {nanos} ns: out of range")
        mtime_ns = seconds * _NANOS + nanos
    return mode, mtime_ns


def _check_names(names: list[bytes]) -> None:
    if len(set(names)) != len(names):
        twice = next(name for name, other in pairwise(sorted(names)) if name == other)
        raise InvalidRequest(f"a Directory has two entries named {twice.decode()!r}")
    longest = max(names, key=len, default=b"")
    if len(longest) > _LONGEST_NAME:
        raise InvalidRequest(f"a Directory has an entry with too long a name: {longest.decode()}")


def _parts(entries: list[File | Symlink], *, is_leaf: bool) -> Iterator[Part]:
    """Cut where a name says so: a file that comes, goes or changes leaves other parts alone."""
    if not entries and is_leaf:
        yield _part([], 1)
    part: list[File | Symlink] = []
    weight = 0
    for entry in entries:
        size = entry.digest.size_bytes if isinstance(entry, File) else 0
        own_weight = 1 + size // _WEIGHT_BYTES
        if size > HEAVY_BYTES:
            yield _part([entry], own_weight, size)
            continue
        is_cut = weight >= _SMALLEST_PART and crc32(entry.name) % _ONE_CUT_IN == 0
        if is_cut or weight >= _LARGEST_PART:
            yield _part(part, weight)
            part, weight = [], 0
        part.append(entry)
        weight += own_weight
    if part:
        yield _part(part, weight)


def _part(entries: list[File | Symlink], weight: int, heavy_bytes: int = 0) -> Part:
    key = hashlib.blake2b(b"".join(map(_described, entries)), digest_size=20).digest()
    mark = crc32(entries[0].name) if entries else 0
    return Part(tuple(entries), key, weight, mark, heavy_bytes)


def _described(entry: File | Symlink) -> bytes:
    """Unlike for unlike entries, and no beginning of another."""
    if isinstance(entry, Symlink):
        return b"%b\0symlink %b\0%d\n" % entry
    name, digest, mode, mtime_ns = entry
    return b"%b\0file %o %d %b" % (name, mode, mtime_ns, digest)
