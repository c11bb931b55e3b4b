"""Input roots as directories that sandboxes mount, made of layers that many roots share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from cachetools import LRUCache

from reapi_local.context import Context
from reapi_local.errors import MissingInputs
from reapi_local.execute.local.inputs.input_tree import InputTree, InputTreeReader
from reapi_local.execute.local.inputs.layer_plan import LayerPlan, plan_layers
from reapi_local.execute.local.inputs.layers import Layer, Layers, Pins
from reapi_local.execute.local.inputs.materializer import Materializer
from reapi_local.protocol.digest import Digest
from reapi_local.store.blob_store import BlobStore
from reapi_local.threads import in_thread

MAX_READ_BYTES: Final = 1024 * 1024
"""The largest file of an input root that :meth:`InputRoots.read_file` reads."""

_MAX_REMEMBERED_ROOTS: Final = 10_000
_MAX_ON_LOOP_ENTRIES: Final = 5_000


class InputRoots:
    """Makes input roots below ``directory`` from the blobs of a store.

    Its layers use at most ``max_bytes`` on disk, unless more are held at the same time. Files and
    directories belong to ``owner`` (user and group id; None = to this process), so that actions can
    change their inputs, through an overlay. Needs a running event loop when it is created.
    """

    def __init__(
        self, blobs: BlobStore, directory: str, max_bytes: int, owner: int | None = None
    ) -> None:
        self._blobs = blobs
        self._trees = InputTreeReader(blobs)
        self.layers = Layers(directory, max_bytes, owner)
        self._remembered: LRUCache[Digest, tuple[Layer, ...]] = LRUCache(_MAX_REMEMBERED_ROOTS)
        self._in_progress: dict[bytes, asyncio.Event] = {}

    async def close(self) -> None:
        """Stop background work. No input root may be held any more."""
        await self.layers.close()

    @asynccontextmanager
    async def hold(self, context: Context, root: Digest) -> AsyncIterator[tuple[str, ...]]:
        """Directories whose union is the input root. They stay until the block is left.

        No file is in two of them. Unless node properties say otherwise, files have mode 0644 or
        0755, directories 0755, and all have the mtime 2000-01-01.

        Raises (on entering):
            MissingInputs: the store lacks blobs. The error names all missing blobs that can be
                determined.
            InvalidRequest: the input root can't be made on any file system.
            StorageFull: the disk has no space for it.
        """
        with self.layers.pins() as pins:
            if not self._pin_remembered(root, pins):
                await self._pin_or_write(context, root, pins)
                self._remembered[root] = tuple(pins.layers)
            yield tuple([layer.path for layer in pins.layers])

    async def read_file(self, context: Context, root: Digest, path: str) -> bytes | None:
        """The content of a file of an input root; doesn't follow symlinks.

        None if there is no such file, or if it is larger than ``MAX_READ_BYTES``.

        Raises:
            MissingInputs, InvalidRequest: as :meth:`hold`.
        """
        segments = [part.encode() for part in path.split("/") if part not in ("", ".")]
        digest: Digest | None = root
        for name in segments[:-1]:
            if digest is not None:
                digest = dict((await self._trees.directory(context, digest)).children).get(name)
        if digest is None or not segments:
            return None
        directory = await self._trees.directory(context, digest)
        file = next((file for file in directory.files() if file.name == segments[-1]), None)
        if file is None or file.digest.size_bytes > MAX_READ_BYTES:
            return None
        contents = await self._blobs.read_many(context, (file.digest,))
        if not contents:
            raise MissingInputs((file.digest,))
        return contents[file.digest]

    def _pin_remembered(self, root: Digest, pins: Pins) -> bool:
        """Pin the layers of a recently used root; False if one of them has been evicted."""
        layers = self._remembered.get(root)
        if layers is None or any(layer.is_evicted for layer in layers):
            return False
        for layer in layers:
            self.layers.touch(layer)
            pins.pin(layer)
        return True

    async def _pin_or_write(self, context: Context, root: Digest, pins: Pins) -> None:
        """Pin all layers of a root, and write those that don't exist."""
        plans = await _plan(await self._trees.fetch(context, root))
        unpinned = {plan.key: plan for plan in plans}
        while True:
            for key in list(unpinned):
                if (layer := self.layers.find(key)) is not None:
                    pins.pin(layer)
                    del unpinned[key]
            if not unpinned:
                return
            ours = [plan for key, plan in unpinned.items() if key not in self._in_progress]
            if ours:
                with self._claim(ours):
                    await self._write(context, ours, pins)
                for plan in ours:
                    del unpinned[plan.key]
            else:
                # Wait for the other writer; this loop writes whatever it failed to publish.
                await self._in_progress[next(iter(unpinned))].wait()

    @contextmanager
    def _claim(self, plans: Sequence[LayerPlan]) -> Iterator[None]:
        """Within the block, other callers wait for these layers and don't write them, too."""
        finished = asyncio.Event()
        self._in_progress |= dict.fromkeys((plan.key for plan in plans), finished)
        try:
            yield
        finally:
            for plan in plans:
                del self._in_progress[plan.key]
            finished.set()

    async def _write(self, context: Context, plans: Sequence[LayerPlan], pins: Pins) -> None:
        materializer = Materializer(context, self._blobs)
        await materializer.check(plans)
        with self.layers.writers(plans) as writers:
            await materializer.write(writers)
            self.layers.publish(writers, pins)


async def _plan(tree: InputTree) -> list[LayerPlan]:
    if tree.entry_count > _MAX_ON_LOOP_ENTRIES:
        return await in_thread(plan_layers, tree)
    return plan_layers(tree)
