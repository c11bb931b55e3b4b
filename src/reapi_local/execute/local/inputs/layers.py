"""The layers on disk: limited in size, pinned while in use, evicted least recently used first.

Layer number N is the directory ``N``. It is complete if ``records`` has an empty file named
``N-BYTES-KEY``: the record is created last and deleted first, so this holds even if the process is
killed at any moment. Nothing is synced to disk. After a crash of the machine all layers are
dropped, because they may be torn: the file ``stamp`` has the boot id they were written under.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from reapi_contract.data_dir import BOOT_ID_FILE, INPUT_RECORDS, INPUT_STAMP
from reapi_local.errors import StorageFull
from reapi_local.execute.local.inputs.background_deletion import BackgroundDeletion
from reapi_local.execute.local.inputs.layer_plan import LayerPlan
from reapi_local.execute.local.inputs.layer_writer import LayerRecord, LayerWriter

_log = logging.getLogger(__name__)
_FORMAT: Final = 1


@dataclass(slots=True, eq=False)
class Layer:
    """A complete layer in the directory ``path``. It isn't evicted while it has pins."""

    record: LayerRecord
    path: str
    pin_count: int = 0
    is_evicted: bool = False


class Pins:
    """Layers that are pinned together, from :meth:`pin` until the block of ``Layers.pins`` ends."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []

    def pin(self, layer: Layer) -> None:
        layer.pin_count += 1
        self.layers.append(layer)


class Layers:
    """All layers below ``directory``, which is created if necessary, within ``max_bytes``.

    Files and directories in layers belong to ``owner`` (user and group id; None = to this process).
    Needs a running event loop when it is created, because it deletes leftovers of an earlier
    process in the background. Only one process at a time may use the directory.
    """

    def __init__(self, directory: str, max_bytes: int, owner: int | None) -> None:
        self._directory, self._max_bytes, self._owner = directory, max_bytes, owner
        self._records = os.path.join(directory, INPUT_RECORDS)
        _prepare(directory, self._records, owner)
        self._fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        self._block_bytes = os.fstatvfs(self._fd).f_frsize
        self._deletion = BackgroundDeletion()
        self._layers: OrderedDict[bytes, Layer] = OrderedDict()
        self._used_bytes = self._last_number = 0
        self._is_over_limit = False
        self._load()

    @property
    def used_bytes(self) -> int:
        """The disk usage of all layers, including those being written."""
        return self._used_bytes

    def find(self, key: bytes) -> Layer | None:
        """The layer with this key, or None. Marks it as the most recently used."""
        layer = self._layers.get(key)
        if layer is not None:
            self._layers.move_to_end(key)
        return layer

    def touch(self, layer: Layer) -> None:
        """Mark a layer, which must not be evicted, as the most recently used."""
        self._layers.move_to_end(layer.record.key)

    @contextmanager
    def pins(self) -> Iterator[Pins]:
        """Yield an empty set of pins; release all of them on exit."""
        pins = Pins()
        try:
            yield pins
        finally:
            for layer in pins.layers:
                layer.pin_count -= 1
            if self._used_bytes > self._max_bytes:
                self._evict()

    @contextmanager
    def writers(self, plans: Sequence[LayerPlan]) -> Iterator[list[LayerWriter]]:
        """Writers for new layers. Layers that aren't published within the block are deleted.

        Raises (on entering):
            StorageFull: the disk has no space for them.
        """
        writers = [self._new_writer(plan) for plan in plans]
        needed_bytes = sum(writer.record.disk_bytes for writer in writers)
        self._used_bytes += needed_bytes
        try:
            self._evict()
            self._check_free_space(needed_bytes)
            yield writers
        finally:
            for writer in writers:
                if not writer.is_published:
                    self._remove(writer.record)

    def publish(self, writers: Sequence[LayerWriter], pins: Pins) -> None:
        """Make layers that are complete available to :meth:`find`, and pin them."""
        for writer in writers:
            writer.is_published = True
            pins.pin(self._add(writer.record))

    async def settle(self) -> None:
        """Wait until all background deletions are done."""
        await self._deletion.settle()

    async def close(self) -> None:
        """Stop deleting; the next process deletes the rest. No layer may be pinned any more."""
        await self._deletion.close()
        os.close(self._fd)

    def _new_writer(self, plan: LayerPlan) -> LayerWriter:
        self._last_number += 1
        return LayerWriter(plan, self._last_number, self._fd, self._block_bytes, self._owner)

    def _add(self, record: LayerRecord) -> Layer:
        layer = Layer(record, self._layer_path(record.number))
        self._layers[record.key] = layer
        return layer

    def _evict(self) -> None:
        """Evict layers until the limit is kept, or only pinned layers are left."""
        if self._used_bytes <= self._max_bytes:  # the usual case, without copying all layers below
            self._is_over_limit = False
            return
        for layer in list(self._layers.values()):
            if self._used_bytes <= self._max_bytes:
                break
            if not layer.pin_count:
                layer.is_evicted = True
                del self._layers[layer.record.key]
                self._remove(layer.record)
        is_over_limit = self._used_bytes > self._max_bytes
        if is_over_limit and not self._is_over_limit:
            _log.warning(
                "inputs of running actions take %d bytes in %s, more than the limit of %d",
                self._used_bytes,
                self._directory,
                self._max_bytes,
            )
        self._is_over_limit = is_over_limit

    def _check_free_space(self, needed_bytes: int) -> None:
        """Fail before anything is written: a full disk would affect other programs, too."""
        status = os.fstatvfs(self._fd)
        free_bytes = status.f_bavail * status.f_frsize
        if needed_bytes > free_bytes + self._deletion.waiting_bytes:
            raise StorageFull(
                f"the input root needs {needed_bytes} bytes in {self._directory}, {free_bytes} are "
                "free; free some space on that disk"
            )

    def _remove(self, record: LayerRecord) -> None:
        self._used_bytes -= record.disk_bytes
        directory = self._layer_path(record.number)
        self._deletion.add(self._record_path(record), directory, record.disk_bytes)

    def _record_path(self, record: LayerRecord) -> str:
        return os.path.join(self._records, record.name)

    def _layer_path(self, number: int) -> str:
        return os.path.join(self._directory, str(number))

    def _load(self) -> None:
        """Reuse layers that earlier processes completed; the oldest are evicted first."""
        numbers = {int(name) for name in os.listdir(self._directory) if name.isdigit()}
        records = sorted(map(LayerRecord.parse, os.listdir(self._records)))
        self._last_number = max(numbers | {record.number for record in records}, default=0)
        self._used_bytes = sum(record.disk_bytes for record in records)
        for record in records:
            if record.number in numbers and record.key not in self._layers:
                self._add(record)
                numbers.remove(record.number)
            else:
                self._remove(record)
        for number in numbers:
            self._remove(LayerRecord(number, 0, b""))
        self._evict()


def _prepare(directory: str, records: str, owner: int | None) -> None:
    """Create the directory. Drop all layers of another format, boot of the machine or owner."""
    os.makedirs(records, exist_ok=True)
    os.chmod(directory, 0o755)  # sandboxes look up layers in it; the directory above is private
    stamp, boot = os.path.join(directory, INPUT_STAMP), _boot_id()
    wanted = f"{_FORMAT} {boot} {owner}"
    if boot and _content(stamp) == wanted:
        return
    shutil.rmtree(records)
    os.mkdir(records)
    with open(stamp, "w", encoding="ascii") as file:
        file.write(wanted)


def _boot_id() -> str:
    """An id that differs after each boot of the machine; "" if the system has none."""
    return _content(BOOT_ID_FILE).strip()


def _content(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except FileNotFoundError:
        return ""
