"""The promise of a cache hit: everything the result reaches can be read."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Final

from reapi_local.errors import InvalidRequest
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, parse_digest
from reapi_local.protocol.tree import (
    child_digests,
    direct_digests,
    file_digests,
    parse_directory,
    parse_tree,
    tree_files,
)
from reapi_local.store.types import ActionCache, ActionKey, BlobStore, StoredResult

_log = logging.getLogger(__name__)
_MAX_REMEMBERED: Final = 200_000


class _Incomplete(Exception):
    """A blob the result reaches isn't there."""


class CompleteResults:
    """An action cache that answers a hit only when every blob the result reaches is there.

    Output files, standard output and error, Trees and the files they name, and Directories where
    a result names those. All of it is then leased to the run. An entry with a gap is removed: its
    action has to run again. (REAPI v2, rpc GetActionResult.)
    """

    def __init__(self, results: ActionCache, blobs: BlobStore) -> None:
        self._results, self._blobs = results, blobs
        self._trees = _RememberedTrees()

    async def get(self, key: ActionKey, run: str = "") -> StoredResult | None:
        stored = await self._results.get(key, run)
        if stored is None:
            return None
        try:
            await self._check(stored.result, key.action.function, run)
        except (_Incomplete, InvalidRequest) as gap:
            _log.info("result of action %s is incomplete (%s): a miss", key.action, gap)
            await self._results.remove(key)
            return None
        return stored

    async def put(self, key: ActionKey, stored: StoredResult) -> None:
        await self._results.put(key, stored)

    async def remove(self, key: ActionKey) -> None:
        await self._results.remove(key)

    async def _check(self, serialized: bytes, function: int, run: str) -> None:
        result = re_pb2.ActionResult.FromString(serialized)
        reached = set(direct_digests(result, function))
        for directory in result.output_directories:
            if directory.HasField("tree_digest"):
                tree = parse_digest(directory.tree_digest, function)
                reached.add(tree)
                reached |= await self._tree_files(tree, run)
            if directory.HasField("root_directory_digest"):
                root = parse_digest(directory.root_directory_digest, function)
                reached |= await self._directory_closure(root, run)
        missing = await self._blobs.find_missing(list(reached), run)
        if missing:
            raise _Incomplete(f"{len(missing)} blobs are missing, the first is {missing[0]}")

    async def _tree_files(self, tree: Digest, run: str) -> frozenset[Digest]:
        files = self._trees.get(tree)
        if files is None:
            files = tree_files(parse_tree(await self._read(tree, run)), tree.function)
            self._trees.remember(tree, files)
        return files

    async def _directory_closure(self, root: Digest, run: str) -> set[Digest]:
        reached, waiting = {root}, [root]
        while waiting:
            directory = parse_directory(await self._read(waiting.pop(), run))
            reached.update(file_digests(directory, root.function))
            children = set(child_digests(directory, root.function)) - reached
            waiting += children
            reached |= children
        return reached

    async def _read(self, digest: Digest, run: str) -> bytes:
        data = (await self._blobs.read_many([digest], run)).get(digest)
        if data is None:
            raise _Incomplete(f"blob {digest} is missing")
        return data


class _RememberedTrees:
    """The files of Trees seen lately; a Tree never changes, so neither does the answer."""

    def __init__(self) -> None:
        self._files: OrderedDict[Digest, frozenset[Digest]] = OrderedDict()
        self._size = 0

    def get(self, tree: Digest) -> frozenset[Digest] | None:
        files = self._files.get(tree)
        if files is not None:
            self._files.move_to_end(tree)
        return files

    def remember(self, tree: Digest, files: frozenset[Digest]) -> None:
        if tree in self._files:
            return
        self._files[tree] = files
        self._size += len(files) + 1
        while self._size > _MAX_REMEMBERED:
            _, dropped = self._files.popitem(last=False)
            self._size -= len(dropped) + 1
