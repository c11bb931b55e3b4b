"""An input root as its client describes it: the Directories, fetched, checked and counted."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from reapi_local.context import Context
from reapi_local.errors import InvalidRequest, MissingInputs
from reapi_local.execute.local.inputs.parsed_directory import ParsedDirectory, parse_input_directory
from reapi_local.protocol.digest import Digest, without_empty
from reapi_local.store.blob_store import BlobStore
from reapi_local.threads import in_thread

MAX_ENTRIES: Final = 1_000_000
"""Files, directories and symlinks that one input root may have."""

_MAX_REMEMBERED: Final = 200_000
_MAX_DIRECTORY_BYTES: Final = 128 * 1024 * 1024
_INLINE_PARSE_BYTES: Final = 64 * 1024
_INLINE_COUNT: Final = 1000
_BATCH_SIZE: Final = 256


class InputTree(NamedTuple):
    """An input root: its digest, every Directory it reaches, and how many entries it has."""

    root: Digest
    folders: Mapping[Digest, ParsedDirectory]
    size: int


class InputTreeReader:
    """Fetches trees from ``blobs`` and remembers the Directories met lately."""

    def __init__(self, blobs: BlobStore, most_entries: int = MAX_ENTRIES) -> None:
        self._blobs, self._most_entries = blobs, most_entries
        self._remembered = _RememberedDirectories()

    async def fetch(self, context: Context, root: Digest) -> InputTree:
        """The whole tree; what was read for it is leased to the run.

        Raises:
            MissingInputs: Directories aren't in the store. Files below the others that aren't
                there either are named with them.
            InvalidRequest: something isn't a Directory, or the root has too many entries.
        """
        folders: dict[Digest, ParsedDirectory] = {}
        missing: dict[Digest, None] = {}
        level: Iterable[Digest] = (root,)
        while level:
            found = await self._folders(context, root, level)
            folders |= found
            missing |= dict.fromkeys(digest for digest in level if digest not in found)
            self._check(root, len(folders))
            level = dict.fromkeys(
                child
                for folder in found.values()
                for _, child in folder.children
                if child not in folders and child not in missing
            )
        if missing:
            raise MissingInputs([*missing, *await self._missing_files(context, folders.values())])
        count = partial(_count_entries, root, folders, self._most_entries)
        size = await in_thread(count) if len(folders) > _INLINE_COUNT else count()
        self._check(root, size)
        return InputTree(root, folders, size)

    async def folder(self, context: Context, digest: Digest) -> ParsedDirectory:
        """One Directory; raises as :meth:`fetch` does."""
        found = await self._folders(context, digest, (digest,))
        if digest not in found:
            raise MissingInputs((digest,))
        return found[digest]

    async def _folders(
        self, context: Context, root: Digest, wanted: Iterable[Digest]
    ) -> dict[Digest, ParsedDirectory]:
        """Those that are remembered or in the store."""
        found = self._remembered.those_of(wanted)
        unknown = [digest for digest in wanted if digest not in found]
        for start in range(0, len(unknown), _BATCH_SIZE):
            for digest, data in (
                await self._read(context, unknown[start : start + _BATCH_SIZE])
            ).items():
                try:
                    found[digest] = await _parsed(digest, data)
                except InvalidRequest as error:
                    raise InvalidRequest(f"input root {root}: {error} ({digest})") from error
                self._remembered.add(digest, found[digest])
        return found

    async def _read(self, context: Context, digests: Sequence[Digest]) -> Mapping[Digest, bytes]:
        for digest in digests:
            if digest.size_bytes > _MAX_DIRECTORY_BYTES:
                raise InvalidRequest(f"{digest} is too large for a Directory")
        return await self._blobs.read_many(context, digests)

    async def _missing_files(
        self, context: Context, folders: Iterable[ParsedDirectory]
    ) -> list[Digest]:
        files = dict.fromkeys(file.digest for folder in folders for file in folder.files())
        return await self._blobs.find_missing(context, without_empty(files))

    def _check(self, root: Digest, entries: int) -> None:
        if entries > self._most_entries:
            raise InvalidRequest(
                f"input root {root} has more than {self._most_entries} files, directories and "
                "symlinks; give the action fewer inputs"
            )


async def _parsed(digest: Digest, data: bytes) -> ParsedDirectory:
    if len(data) > _INLINE_PARSE_BYTES:
        return await in_thread(parse_input_directory, data, digest.function)
    return parse_input_directory(data, digest.function)


def _count_entries(root: Digest, folders: Mapping[Digest, ParsedDirectory], most: int) -> int:
    """How many entries the tree has; of a number above ``most`` only that it is above.

    Each Directory is counted once, however often it is referred to: a few of them may describe
    more entries than any machine holds.
    """
    counts: dict[Digest, int] = {}
    waiting = [root]
    while waiting:
        folder = folders[waiting[-1]]
        uncounted = {child for _, child in folder.children if child not in counts}
        if uncounted:
            waiting += uncounted
        else:
            count = 1 + folder.size + sum([counts[child] for _, child in folder.children])
            counts[waiting.pop()] = min(count, most + 1)
    return counts[root]


class _RememberedDirectories:
    """The Directories met lately; one never changes, so neither does what was read from it."""

    def __init__(self) -> None:
        self._folders: OrderedDict[Digest, ParsedDirectory] = OrderedDict()
        self._size = 0

    def those_of(self, wanted: Iterable[Digest]) -> dict[Digest, ParsedDirectory]:
        found = {}
        for digest in wanted:
            if (folder := self._folders.get(digest)) is not None:
                self._folders.move_to_end(digest)
                found[digest] = folder
        return found

    def add(self, digest: Digest, folder: ParsedDirectory) -> None:
        if digest not in self._folders:
            self._size += _weight(folder)
        self._folders[digest] = folder
        while self._size > _MAX_REMEMBERED:
            self._size -= _weight(self._folders.popitem(last=False)[1])


def _weight(folder: ParsedDirectory) -> int:
    return 1 + folder.size + len(folder.children)
