"""Complete cache hits: every blob that the action result reaches can be read."""

from __future__ import annotations

from typing import Final

from cachetools import LRUCache

from reapi_local.context import Context
from reapi_local.errors import InvalidRequest
from reapi_local.events import EntryRemoved, EventStream
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, parse_digest
from reapi_local.protocol.lookup import Lookup, Miss, MissReason, StoredResult
from reapi_local.protocol.tree import (
    child_digests,
    direct_digests,
    file_digests,
    parse_directory,
    parse_tree,
    tree_files,
)
from reapi_local.store.action_cache import ActionCache
from reapi_local.store.blob_store import BlobStore

_MAX_REMEMBERED_DIGESTS: Final = 200_000


class _Incomplete(Exception):
    """Blobs that the result reaches are missing."""

    def __init__(self, missing: list[Digest]) -> None:
        super().__init__()
        self.missing = tuple(missing)


class CompleteActionCache:
    """An action cache that returns a hit only if every blob that the result reaches is there.

    These are output files, standard output and error, Trees with the files that they name, and
    root Directories with all below them. They are then leased to the invocation. An incomplete
    entry is removed, because its action has to run again, unless it was replaced while it was
    checked. (REAPI v2, rpc GetActionResult.)
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
            await self._check(context, found.result, action.function)
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

    async def _check(self, context: Context, result: re_pb2.ActionResult, function: int) -> None:
        reached = set(direct_digests(result, function))
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
            files = tree_files(parse_tree(await self._read(context, tree)), tree.function)
            if len(files) < _MAX_REMEMBERED_DIGESTS:
                self._tree_files[tree] = files
        return files

    async def _directory_closure(self, context: Context, root: Digest) -> set[Digest]:
        reached, waiting = {root}, [root]
        while waiting:
            directory = parse_directory(await self._read(context, waiting.pop()))
            reached.update(file_digests(directory, root.function))
            children = set(child_digests(directory, root.function)) - reached
            waiting += children
            reached |= children
        return reached

    async def _read(self, context: Context, digest: Digest) -> bytes:
        data = (await self._blobs.read_many(context, [digest])).get(digest)
        if data is None:
            raise _Incomplete([digest])
        return data
