"""Complete cache hits: every blob that the action result reaches can be read."""

from __future__ import annotations

from typing import Final

from cachetools import LRUCache

from reapi_local.context import Context
from reapi_local.errors import InvalidRequest
from reapi_local.events import EntryRemoved, EventStream
from reapi_local.protocol.digest import Digest, parse_digest
from reapi_local.protocol.lookup import Hit, Lookup, Miss, MissReason, StoredResult
from reapi_local.protocol.tree import (
    check_tree,
    child_digests,
    direct_digests,
    file_digests,
    parse_directory,
    parse_tree,
    tree_files,
)
from reapi_local.store.action_cache import ActionCache
from reapi_local.store.blob_store import BlobStore
from reapi_local.threads import DIRECTORIES_SLICE, in_slices, in_thread_if_long

_MAX_REMEMBERED_DIGESTS: Final = 200_000


class _Incomplete(Exception):
    """Blobs that the result reaches are missing."""

    def __init__(self, missing: list[Digest]) -> None:
        super().__init__()
        self.missing = tuple(missing)


class CompleteActionCache:
    """An action cache that returns a hit only if every blob that the result reaches is there.

    These are output files, standard output and error, Trees with the files that they name, and
    root Directories with all below them. They are then leased to the invocation. A Tree that lacks
    a sub-directory can't be used, so it counts as damaged. An incomplete entry is removed, because
    its action has to run again, unless it was replaced while it was checked. (REAPI v2, rpc
    GetActionResult.)
    """

    def __init__(self, results: ActionCache, blobs: BlobStore, events: EventStream) -> None:
        self._results, self._blobs, self._events = results, blobs, events
        # A Tree never changes, so its list of files can be remembered.
        self._tree_files: LRUCache[Digest, frozenset[Digest]] = LRUCache(
            _MAX_REMEMBERED_DIGESTS, getsizeof=lambda files: len(files) + 1
        )

    async def get(self, context: Context, action: Digest) -> Lookup:
        found = await self._results.get(context, action)
        if isinstance(found, Miss):
            return found
        try:
            await self._check(context, found, action.function)
        except _Incomplete as gap:
            miss = Miss(MissReason.INCOMPLETE, gap.missing)
        except InvalidRequest:
            miss = Miss(MissReason.CORRUPT)
        else:
            return found
        if await self.remove(context, action, found.stored):
            self._events.emit(EntryRemoved(context, action, miss.reason, miss.missing))
        return miss

    async def put(self, context: Context, action: Digest, stored: StoredResult) -> None:
        await self._results.put(context, action, stored)

    async def remove(self, context: Context, action: Digest, stored: StoredResult) -> bool:
        return await self._results.remove(context, action, stored)

    async def _check(self, context: Context, hit: Hit, function: int) -> None:
        result = hit.result
        length = len(hit.stored.result)
        reached = set(await in_thread_if_long(length, direct_digests, result, function))
        for directory in result.output_directories:
            if directory.HasField("tree_digest"):
                tree = parse_digest(directory.tree_digest, function)
                reached.add(tree)
                reached |= await self._files_of_tree(context, tree)
            if directory.HasField("root_directory_digest"):
                root = parse_digest(directory.root_directory_digest, function)
                reached |= await self._directory_closure(context, root)
        missing = await self._blobs.find_missing(context, list(reached))
        if missing:
            raise _Incomplete(missing)

    async def _files_of_tree(self, context: Context, tree: Digest) -> frozenset[Digest]:
        files = self._tree_files.get(tree)
        if files is None:
            data = await self._read(context, tree)
            files = await in_thread_if_long(len(data), _files_of, data, tree.function)
            if len(files) < _MAX_REMEMBERED_DIGESTS:
                self._tree_files[tree] = files
        return files

    async def _directory_closure(self, context: Context, root: Digest) -> set[Digest]:
        reached, level = {root}, [root]
        while level:
            below: set[Digest] = set()
            async for part in in_slices(level, DIRECTORIES_SLICE):
                found = await self._blobs.read_many(context, part)
                for digest in part:
                    data = found.get(digest)
                    if data is None:
                        raise _Incomplete([digest])
                    files, children = await in_thread_if_long(
                        len(data), _entries_of, data, root.function
                    )
                    reached |= files
                    below |= children
            level = list(below - reached)
            reached |= below
        return reached

    async def _read(self, context: Context, digest: Digest) -> bytes:
        data = (await self._blobs.read_many(context, [digest])).get(digest)
        if data is None:
            raise _Incomplete([digest])
        return data


def _files_of(data: bytes, function: int) -> frozenset[Digest]:
    """The files of a Tree, which is complete in itself."""
    tree = parse_tree(data)
    check_tree(tree, function)
    return tree_files(tree, function)


def _entries_of(data: bytes, function: int) -> tuple[set[Digest], set[Digest]]:
    """The files and the sub-directories of a Directory."""
    directory = parse_directory(data)
    return set(file_digests(directory, function)), set(child_digests(directory, function))
