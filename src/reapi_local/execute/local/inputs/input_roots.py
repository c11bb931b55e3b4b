"""Input roots as directories that sandboxes mount, made from layers that many roots share."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Final

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
"""Of files of an input root that are read for the server's own use."""

_MAX_REMEMBERED: Final = 10_000
_INLINE_PLAN_ENTRIES: Final = 5_000


class InputRoots:
    """Makes input roots below ``directory`` from the blobs of a store.

    What it makes takes at most ``max_bytes`` on disk, except for what is held at one time. Files
    and directories belong to ``owner`` (user and group id; None = to this process): actions may
    change their inputs, through an overlay. Needs a running event loop from the start.
    """

    def __init__(
        self, blobs: BlobStore, directory: str, max_bytes: int, owner: int | None = None
    ) -> None:
        self._blobs = blobs
        self._trees = InputTreeReader(blobs)
        self.layers = Layers(directory, max_bytes, owner)
        self._known: OrderedDict[Digest, tuple[Layer, ...]] = OrderedDict()
        self._under_way: dict[bytes, asyncio.Event] = {}

    async def close(self) -> None:
        """End what is done in the background. No root may be held any more."""
        await self.layers.close()

    @asynccontextmanager
    async def hold(self, context: Context, root: Digest) -> AsyncIterator[tuple[str, ...]]:
        """Directories whose union is the input root; they stay until the block is left.

        No two of them hold the same file. Files have mode 0644 or 0755, directories 0755, and all
        the time 2000-01-01, unless node properties say otherwise.

        Raises (on entering):
            MissingInputs: blobs aren't in the store: all that are missing, as far as that can
                be told.
            InvalidRequest: the root isn't one that could be made.
            StorageFull: the disk has no room for it.
        """
        with self.layers.pins() as pins:
            if not self._recall(root, pins):
                await self._make(context, root, pins)
                self._remember(root, pins)
            yield tuple([layer.path for layer in pins.layers])

    async def read_file(self, context: Context, root: Digest, path: str) -> bytes | None:
        """The content of a file of an input root; symlinks aren't followed.

        None where there is no such file, or one larger than ``MAX_READ_BYTES``.

        Raises:
            MissingInputs, InvalidRequest: as :meth:`hold`.
        """
        segments = [part.encode() for part in path.split("/") if part not in ("", ".")]
        digest: Digest | None = root
        for name in segments[:-1]:
            if digest is not None:
                digest = dict((await self._trees.folder(context, digest)).children).get(name)
        if digest is None or not segments:
            return None
        folder = await self._trees.folder(context, digest)
        file = next((file for file in folder.files() if file.name == segments[-1]), None)
        if file is None or file.digest.size_bytes > MAX_READ_BYTES:
            return None
        contents = await self._blobs.read_many(context, (file.digest,))
        if not contents:
            raise MissingInputs((file.digest,))
        return contents[file.digest]

    def _recall(self, root: Digest, pins: Pins) -> bool:
        """Pin the layers of a root met lately, if all are still there."""
        known = self._known.get(root)
        if known is None or not all(layer.is_there for layer in known):
            return False
        self._known.move_to_end(root)
        for layer in known:
            self.layers.touch(layer)
            pins.take(layer)
        return True

    def _remember(self, root: Digest, pins: Pins) -> None:
        self._known[root] = tuple(pins.layers)
        if len(self._known) > _MAX_REMEMBERED:
            self._known.popitem(last=False)

    async def _make(self, context: Context, root: Digest, pins: Pins) -> None:
        """Find or write the layers of a root, and pin them."""
        lacking = {
            plan.key: plan for plan in await _planned(await self._trees.fetch(context, root))
        }
        while True:
            for key in list(lacking):
                if (layer := self.layers.find(key)) is not None:
                    pins.take(layer)
                    del lacking[key]
            if not lacking:
                return
            ours = [plan for key, plan in lacking.items() if key not in self._under_way]
            if ours:
                with self._claimed(ours):
                    await self._write(context, ours, pins)
                for plan in ours:
                    del lacking[plan.key]
            else:
                # Whatever comes of another's work: what it doesn't bring is ours to write next.
                await self._under_way[next(iter(lacking))].wait()

    @contextmanager
    def _claimed(self, plans: Sequence[LayerPlan]) -> Iterator[None]:
        """Within the block others wait for these layers rather than write them too."""
        ended = asyncio.Event()
        self._under_way |= dict.fromkeys((plan.key for plan in plans), ended)
        try:
            yield
        finally:
            for plan in plans:
                del self._under_way[plan.key]
            ended.set()

    async def _write(self, context: Context, plans: Sequence[LayerPlan], pins: Pins) -> None:
        filling = Materializer(context, self._blobs)
        await filling.check(plans)
        with self.layers.drafts(plans) as drafts:
            await filling.fill(drafts)
            self.layers.publish(drafts, pins)


async def _planned(tree: InputTree) -> list[LayerPlan]:
    if tree.size > _INLINE_PLAN_ENTRIES:
        return await in_thread(plan_layers, tree)
    return plan_layers(tree)
