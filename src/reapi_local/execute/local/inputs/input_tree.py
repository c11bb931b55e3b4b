"""An input root as its client describes it: its Directories, fetched, checked and counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from cachetools import LRUCache

from reapi_local.context import Context
from reapi_local.errors import InvalidRequest, MissingInputs
from reapi_local.execute.local.inputs.parsed_directory import ParsedDirectory, parse_input_directory
from reapi_local.protocol.digest import Digest, without_empty
from reapi_local.store.blob_store import BlobStore
from reapi_local.threads import in_thread

MAX_ENTRIES: Final = 1_000_000
"""Files, directories and symlinks that one input root may have."""

_MAX_REMEMBERED_ENTRIES: Final = 200_000
_MAX_DIRECTORY_BYTES: Final = 128 * 1024 * 1024
_MAX_ON_LOOP_BYTES: Final = 64 * 1024
_MAX_ON_LOOP_DIRECTORIES: Final = 1000
_BATCH_SIZE: Final = 256


class InputTree(NamedTuple):
    """An input root: its digest, all Directories in it, and how many entries the tree has."""

    root: Digest
    directories: Mapping[Digest, ParsedDirectory]
    entry_count: int


class InputTreeReader:
    """Fetches input trees from ``blobs``, and remembers recently used Directories.

    A blob never changes, so a remembered Directory is never stale.
    """

    def __init__(self, blobs: BlobStore, max_entries: int = MAX_ENTRIES) -> None:
        self._blobs, self._max_entries = blobs, max_entries
        self._remembered: LRUCache[Digest, ParsedDirectory] = LRUCache(
            _MAX_REMEMBERED_ENTRIES, getsizeof=_entry_count
        )

    async def fetch(self, context: Context, root: Digest) -> InputTree:
        """The whole tree. The blobs that are read for it are leased to the invocation.

        Raises:
            MissingInputs: the store lacks Directories. The error also names missing files of the
                Directories that the store has.
            InvalidRequest: a blob isn't a Directory, or the root has too many entries.
        """
        directories: dict[Digest, ParsedDirectory] = {}
        missing: dict[Digest, None] = {}
        level: Iterable[Digest] = (root,)
        while level:
            found = await self._fetch_directories(context, root, level)
            directories |= found
            missing |= dict.fromkeys(digest for digest in level if digest not in found)
            self._check_count(root, len(directories))
            level = dict.fromkeys(
                child
                for directory in found.values()
                for _, child in directory.children
                if child not in directories and child not in missing
            )
        if missing:
            missing_files = await self._missing_files(context, directories.values())
            raise MissingInputs([*missing, *missing_files])
        count = partial(_count_entries, root, directories, self._max_entries)
        is_large = len(directories) > _MAX_ON_LOOP_DIRECTORIES
        entry_count = await in_thread(count) if is_large else count()
        self._check_count(root, entry_count)
        return InputTree(root, directories, entry_count)

    async def directory(self, context: Context, digest: Digest) -> ParsedDirectory:
        """One Directory. Raises the same errors as :meth:`fetch`."""
        found = await self._fetch_directories(context, digest, (digest,))
        if digest not in found:
            raise MissingInputs((digest,))
        return found[digest]

    async def _fetch_directories(
        self, context: Context, root: Digest, wanted: Iterable[Digest]
    ) -> dict[Digest, ParsedDirectory]:
        """Those of ``wanted`` that are remembered or in the store."""
        found = self._recall(wanted)
        unknown = [digest for digest in wanted if digest not in found]
        for start in range(0, len(unknown), _BATCH_SIZE):
            batch = await self._read(context, unknown[start : start + _BATCH_SIZE])
            for digest, data in batch.items():
                try:
                    found[digest] = await _parse(digest, data)
                except InvalidRequest as error:
                    raise InvalidRequest(f"input root {root}: {error} ({digest})") from error
                self._remember(digest, found[digest])
        return found

    def _recall(self, wanted: Iterable[Digest]) -> dict[Digest, ParsedDirectory]:
        found = {}
        for digest in wanted:
            if (directory := self._remembered.get(digest)) is not None:
                found[digest] = directory
        return found

    def _remember(self, digest: Digest, directory: ParsedDirectory) -> None:
        # LRUCache refuses a value that is larger than the whole cache.
        if _entry_count(directory) <= self._remembered.maxsize:
            self._remembered[digest] = directory

    async def _read(self, context: Context, digests: Sequence[Digest]) -> Mapping[Digest, bytes]:
        for digest in digests:
            if digest.size_bytes > _MAX_DIRECTORY_BYTES:
                raise InvalidRequest(f"{digest} is too large for a Directory")
        return await self._blobs.read_many(context, digests)

    async def _missing_files(
        self, context: Context, directories: Iterable[ParsedDirectory]
    ) -> list[Digest]:
        files = dict.fromkeys(
            file.digest for directory in directories for file in directory.files()
        )
        return await self._blobs.find_missing(context, without_empty(files))

    def _check_count(self, root: Digest, entry_count: int) -> None:
        if entry_count > self._max_entries:
            raise InvalidRequest(
                f"input root {root} has more than {self._max_entries} files, directories and "
                "symlinks; give the action fewer inputs"
            )


async def _parse(digest: Digest, data: bytes) -> ParsedDirectory:
    if len(data) > _MAX_ON_LOOP_BYTES:
        return await in_thread(parse_input_directory, data, digest.function)
    return parse_input_directory(data, digest.function)


def _count_entries(
    root: Digest, directories: Mapping[Digest, ParsedDirectory], max_entries: int
) -> int:
    """How many entries the tree has; ``max_entries + 1`` stands for any number above the limit.

    The same Directory may occur at many paths, so a few small messages can describe more entries
    than any machine can store. Each Directory is visited once, children before parents, and the
    counts of children are added up.
    """
    counts: dict[Digest, int] = {}
    pending = [root]
    while pending:
        directory = directories[pending[-1]]
        uncounted = {child for _, child in directory.children if child not in counts}
        if uncounted:
            pending += uncounted
        else:
            below = sum([counts[child] for _, child in directory.children])
            counts[pending.pop()] = min(1 + directory.entry_count + below, max_entries + 1)
    return counts[root]


def _entry_count(directory: ParsedDirectory) -> int:
    return 1 + directory.entry_count + len(directory.children)
