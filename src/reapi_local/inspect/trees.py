"""Trees as they are walked for people: what is in one, how much it is, and what differs.

The Directories of an input root are blobs of their own; those of an output directory are within
one Tree. Both are read here through :class:`Directories`. Equal directories have equal digests, so
they are counted once and never compared.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from reapi_contract import inspection
from reapi_contract.inspection import Entry, FileChange, Totals
from reapi_local.context import Context
from reapi_local.errors import InvalidRequest, ObjectNotFound
from reapi_local.inspect.entries import (
    Pair,
    digest_in,
    entries_of,
    is_directory,
    moved,
    unlike_entries,
)
from reapi_local.inspect.held import Readable
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import EMPTY_BLOBS, Digest, digest_of, parse_digest
from reapi_local.protocol.tree import parse_directory, parse_tree
from reapi_local.threads import DIRECTORIES_SLICE, in_slices, in_thread_if_long

MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""A larger Directory or Tree isn't read."""

MAX_DIRECTORIES: Final = 50_000
"""How many different directories one answer looks at."""


class TooLargeToShow(InvalidRequest):
    """A message or a tree is larger than what is read to show it."""


class Directories:
    """Directories by their digests, from the store or from within a Tree; each is read once."""

    def __init__(self, blobs: Readable, context: Context) -> None:
        self._blobs, self._context = blobs, context
        self._known: dict[Digest, re_pb2.Directory | None] = {}

    async def root_of_tree(self, tree: Digest) -> Digest | None:
        """The digest of the root Directory of a Tree; None if the store lacks the Tree.

        Raises:
            InvalidRequest: it is no Tree.
        """
        data = (await self._read([tree])).get(tree)
        if data is None:
            return None
        return await in_thread_if_long(len(data), self._take_tree, data, tree)

    def _take_tree(self, data: bytes, digest: Digest) -> Digest:
        message = parse_tree(data)
        for directory in message.children:
            self._known[_digest_of(directory, digest)] = directory
        root = _digest_of(message.root, digest)
        self._known[root] = message.root
        return root

    async def get(self, digest: Digest) -> re_pb2.Directory | None:
        """One Directory; None if the store lacks it. Raises InvalidRequest if it is none."""
        await self.fetch([digest])
        return self._known[digest]

    async def fetch(self, digests: Iterable[Digest]) -> None:
        """Read those that are not known yet."""
        unknown = [digest for digest in dict.fromkeys(digests) if digest not in self._known]
        if len(self._known) + len(unknown) > MAX_DIRECTORIES:
            raise TooLargeToShow(f"the tree has more than {MAX_DIRECTORIES} directories")
        async for part in in_slices(unknown, DIRECTORIES_SLICE):
            found = await self._read(part)
            for digest in part:
                data = b"" if digest in EMPTY_BLOBS else found.get(digest)
                self._known[digest] = None if data is None else await _parsed(data)

    async def _read(self, digests: Iterable[Digest]) -> Mapping[Digest, bytes]:
        wanted = list(digests)
        for digest in wanted:
            if digest.size_bytes > MAX_MESSAGE_BYTES:
                raise TooLargeToShow(f"{digest} is larger than {MAX_MESSAGE_BYTES} bytes")
        return await self._blobs.read_many(self._context, wanted)


def _digest_of(directory: re_pb2.Directory, like: Digest) -> Digest:
    return digest_of(directory.SerializeToString(deterministic=True), like.function)


async def _parsed(data: bytes) -> re_pb2.Directory:
    return await in_thread_if_long(len(data), parse_directory, data)


class _Count(NamedTuple):
    files: int
    directories: int
    symlinks: int
    size_bytes: int
    missing: int


async def totals(directories: Directories, root: Digest) -> Totals:
    """How much is below a directory. A directory that occurs often is counted as often.

    Raises:
        InvalidRequest: it has too many directories, or a blob isn't a Directory.
    """
    order, level = [root], [root]
    while level:
        await directories.fetch(level)
        below = dict.fromkeys(
            [child for digest in level for child in await _children(directories, digest)]
        )
        # A directory can occur on several levels: what is in it has to be counted before it.
        level = list(below)
        order.extend(level)
        if len(order) > 4 * MAX_DIRECTORIES:
            raise TooLargeToShow("the tree is too deep to be counted")
    counts: dict[Digest, _Count] = {}
    for digest in reversed(order):
        if digest not in counts:
            counts[digest] = await _count(directories, digest, counts)
    return Totals(**counts[root]._asdict())


async def _children(directories: Directories, digest: Digest) -> list[Digest]:
    directory = await directories.get(digest)
    if directory is None:
        return []
    return [parse_digest(node.digest, digest.function) for node in directory.directories]


async def _count(
    directories: Directories, digest: Digest, counts: Mapping[Digest, _Count]
) -> _Count:
    directory = await directories.get(digest)
    if directory is None:
        return _Count(0, 0, 0, 0, 1)
    below = [counts[child] for child in await _children(directories, digest)]
    return _Count(
        len(directory.files) + sum(count.files for count in below),
        len(below) + sum(count.directories for count in below),
        len(directory.symlinks) + sum(count.symlinks for count in below),
        sum(node.digest.size_bytes for node in directory.files)
        + sum(count.size_bytes for count in below),
        sum(count.missing for count in below),
    )


async def at_path(directories: Directories, root: Digest, path: str) -> Entry:
    """What is at a path below a directory; doesn't follow symlinks.

    Raises:
        InvalidRequest: nothing is there.
        ObjectNotFound: a Directory on the way is missing.
    """
    entry = Entry("", inspection.DIRECTORY, str(root), root.size_bytes)
    here = root
    for name in filter(None, path.split("/")):
        found = {}
        if entry.kind == inspection.DIRECTORY:
            directory = await directories.get(here)
            if directory is None:
                raise ObjectNotFound(f"the directory {entry.path or '.'} isn't in the store")
            found = {one.path: one for one in entries_of(directory)}
        if name not in found:
            raise InvalidRequest(f"there is no {path!r} in the tree {root}")
        entry = found[name]
        here = digest_in(entry, root)
    return entry


async def walk(directories: Directories, root: Digest, depth: int = 0) -> AsyncIterator[Entry]:
    """All entries below a directory, sorted by name, each directory before what is in it.

    ``depth``: how many levels, 0 = all. A directory that the store lacks has the kind `missing`.
    """
    stack = [("", iter(await _entries(directories, root)))]
    while stack:
        below, entries = stack[-1]
        entry = next(entries, None)
        if entry is None:
            stack.pop()
            continue
        path = f"{below}{entry.path}"
        if entry.kind != inspection.DIRECTORY:
            yield moved(entry, path)
            continue
        here = digest_in(entry, root)
        is_lost = await directories.get(here) is None
        yield replace(moved(entry, path), kind=inspection.LOST) if is_lost else moved(entry, path)
        if not is_lost and len(stack) != depth:
            stack.append((f"{path}/", iter(await _entries(directories, here))))


async def _entries(directories: Directories, digest: Digest) -> list[Entry]:
    """What is directly in a directory, whose own directories are read; nothing if it is missing."""
    directory = await directories.get(digest)
    entries = entries_of(directory) if directory else []
    below = [digest_in(one, digest) for one in entries if one.kind == inspection.DIRECTORY]
    await directories.fetch(below)
    return entries


async def differences(directories: Directories, a: Digest, b: Digest) -> AsyncIterator[FileChange]:
    """The paths that differ, in order. Of a directory that only one side has, all files in it.

    A directory that the store lacks has the kind `missing`.
    """
    stack = [await _pairs(directories, a, b, "")]
    while stack:
        pair = next(stack[-1], None)
        if pair is None:
            stack.pop()
            continue
        path, one, other = pair
        left, right = _shown(one, other, path), _shown(other, one, path)
        if left or right:
            yield FileChange(path, left, right)
        if is_directory(one) or is_directory(other):
            inner = [_directory_in(side, a) for side in (one, other)]
            stack.append(await _pairs(directories, inner[0], inner[1], f"{path}/"))


async def _pairs(directories: Directories, a: Digest, b: Digest, below: str) -> Iterator[Pair]:
    """What is directly in two directories and differs, sorted by path.

    If the store lacks one of them, only that, because nothing can be compared.
    """
    if a == b:
        return iter(())
    await directories.fetch((a, b))
    left, right = await directories.get(a), await directories.get(b)
    if left is None or right is None:
        lost = [
            Entry(below, inspection.LOST, str(digest), digest.size_bytes) if side is None else None
            for digest, side in ((a, left), (b, right))
        ]
        return iter([(below, lost[0], lost[1])])
    return unlike_entries(left, right, below)


def _directory_in(entry: Entry | None, like: Digest) -> Digest:
    """The directory that an entry is; the empty one if it is none."""
    if entry is None or not is_directory(entry):
        return digest_of(b"", like.function)
    return digest_in(entry, like)


def _shown(one: Entry | None, other: Entry | None, path: str) -> Entry | None:
    """The entry with its path; of directories only an empty one where the other has nothing."""
    if one is None or (one.kind == inspection.DIRECTORY and (one.size_bytes or other)):
        return None
    return moved(one, path)
