"""Trees as they are walked for people: what is in one, how much it is, and what differs.

The Directories of an input root are blobs of their own; those of an output directory are within
one Tree. Both are read here through :class:`Directories`. Equal directories have equal digests, so
they are counted once and never compared.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Final, NamedTuple

from reapi_contract import inspection
from reapi_contract.inspection import Entry, FileChange, Totals
from reapi_local.context import Context
from reapi_local.errors import InvalidRequest, ObjectNotFound
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


async def walk(
    directories: Directories, root: Digest, depth: int, below: str = ""
) -> AsyncIterator[Entry]:
    """All entries below a directory, sorted by name, each directory before what is in it.

    A directory that the store lacks has the kind `missing`.
    """
    directory = await directories.get(root)
    if directory is None:
        return
    children = [entry for entry in entries_of(directory) if entry.kind == inspection.DIRECTORY]
    await directories.fetch(digest_in(child, root) for child in children)
    for entry in entries_of(directory):
        path = f"{below}{entry.path}"
        here = digest_in(entry, root) if entry.kind == inspection.DIRECTORY else root
        lost = here is not root and await directories.get(here) is None
        yield _moved(entry, path, inspection.LOST if lost else entry.kind)
        if here is not root and not lost and depth > 1:
            async for inner in walk(directories, here, depth - 1, f"{path}/"):
                yield inner


async def differences(
    directories: Directories, a: Digest, b: Digest, below: str = ""
) -> AsyncIterator[FileChange]:
    """The paths that differ, in order. Of a directory that only one side has, all files in it.

    A directory that the store lacks has the kind `missing`.
    """
    if a == b:
        return
    await directories.fetch((a, b))
    sides = [await directories.get(side) for side in (a, b)]
    left, right = ({e.path: e for e in entries_of(side)} if side else {} for side in sides)
    for digest, side in zip((a, b), sides, strict=True):
        if side is None:
            lost = Entry(below, inspection.LOST, str(digest), digest.size_bytes)
            yield FileChange(below, lost if digest == a else None, lost if digest == b else None)
            return
    for name in sorted({*left, *right}):
        one, other = left.get(name), right.get(name)
        if one == other:
            continue
        async for change in _changed(directories, a, one, other, f"{below}{name}"):
            yield change


async def _changed(
    directories: Directories, root: Digest, a: Entry | None, b: Entry | None, path: str
) -> AsyncIterator[FileChange]:
    a_is, b_is = (one is not None and one.kind == inspection.DIRECTORY for one in (a, b))
    if a_is or b_is:
        inner_a, inner_b = (
            digest_in(one, root) if one and one.kind == inspection.DIRECTORY else _empty(root)
            for one in (a, b)
        )
        async for change in differences(directories, inner_a, inner_b, f"{path}/"):
            yield change
    left, right = _shown(a, b, path), _shown(b, a, path)
    if left or right:
        yield FileChange(path, left, right)


def _shown(one: Entry | None, other: Entry | None, path: str) -> Entry | None:
    """The entry with its path; of directories only an empty one where the other has nothing."""
    if one is None or (one.kind == inspection.DIRECTORY and (one.size_bytes or other)):
        return None
    return _moved(one, path, one.kind)


def entries_of(directory: re_pb2.Directory) -> list[Entry]:
    """What is directly in a directory, sorted by name; paths are names."""
    found = [
        Entry(n.name, inspection.DIRECTORY, _text(n.digest), n.digest.size_bytes)
        for n in directory.directories
    ]
    found += [
        Entry(n.name, inspection.FILE, _text(n.digest), n.digest.size_bytes, n.is_executable)
        for n in directory.files
    ]
    found += [Entry(n.name, inspection.LINK, target=n.target) for n in directory.symlinks]
    return sorted(found, key=lambda entry: entry.path)


def _text(digest: re_pb2.Digest) -> str:
    return f"{digest.hash}/{digest.size_bytes}"


def digest_in(entry: Entry, like: Digest) -> Digest:
    """The digest of an entry, of the same function as ``like``."""
    if not entry.digest:
        return like
    hash_hex, _, size = entry.digest.partition("/")
    return parse_digest(re_pb2.Digest(hash=hash_hex, size_bytes=int(size)), like.function)


def _empty(like: Digest) -> Digest:
    return digest_of(b"", like.function)


def _moved(entry: Entry, path: str, kind: str) -> Entry:
    return Entry(path, kind, entry.digest, entry.size_bytes, entry.executable, entry.target)
