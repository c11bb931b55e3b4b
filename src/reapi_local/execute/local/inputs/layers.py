"""The layers on disk: bounded, pinned while in use, the least recently used first to go.

Layer number N is the directory ``N``, and is there once ``records`` has an empty file named
``N-BYTES-KEY``. The record is made last and removed first: whenever the process was killed, a
layer that has one is complete. Nothing is synced; what a crash of the machine may have torn is
known by the boot id in ``stamp``, and dropped.
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

from reapi_local.errors import StorageFull
from reapi_local.execute.local.inputs.background_removal import Removal
from reapi_local.execute.local.inputs.layer_plan import LayerPlan
from reapi_local.execute.local.inputs.layer_writer import RECORDS, LayerWriter, Record

_log = logging.getLogger(__name__)
_FORMAT: Final = 1
_BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"


@dataclass(slots=True, eq=False)
class Layer:
    """A complete layer in the directory ``path``; ``is_there`` until it is evicted."""

    record: Record
    path: str
    pins: int = 0
    is_there: bool = True


class Pins:
    """Layers that stay for as long as these pins are held."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []

    def take(self, layer: Layer) -> None:
        layer.pins += 1
        self.layers.append(layer)


class Layers:
    """All layers below ``directory``, which is made when it isn't there, within ``max_bytes``.

    What they hold belongs to ``owner`` (user and group id; None = to this process). Needs a
    running event loop from the start: leftovers of an earlier process are deleted in the
    background. One process at a time may have the directory open.
    """

    def __init__(self, directory: str, max_bytes: int, owner: int | None) -> None:
        self._directory, self._max_bytes, self._owner = directory, max_bytes, owner
        self._records = os.path.join(directory, RECORDS)
        _prepare(directory, self._records, owner)
        self._fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        self._block_bytes = os.fstatvfs(self._fd).f_frsize
        self._removal = Removal()
        self._layers: OrderedDict[bytes, Layer] = OrderedDict()
        self._used_bytes = self._last_number = 0
        self._is_over = False
        self._load()

    @property
    def used_bytes(self) -> int:
        """What layers take on disk, those being written included."""
        return self._used_bytes

    def find(self, key: bytes) -> Layer | None:
        """The layer with this key, now the most recently used."""
        layer = self._layers.get(key)
        if layer is not None:
            self._layers.move_to_end(key)
        return layer

    def touch(self, layer: Layer) -> None:
        """Make a layer that is there the most recently used."""
        self._layers.move_to_end(layer.record.key)

    @contextmanager
    def pins(self) -> Iterator[Pins]:
        """Pins that are held for the length of the block."""
        pins = Pins()
        try:
            yield pins
        finally:
            for layer in pins.layers:
                layer.pins -= 1
            if self._used_bytes > self._max_bytes:
                self._make_room()

    @contextmanager
    def drafts(self, plans: Sequence[LayerPlan]) -> Iterator[list[LayerWriter]]:
        """Layers to be written within the block; those not published by its end are deleted.

        Raises (on entering):
            StorageFull: the disk has no room for them.
        """
        drafts = [self._draft(plan) for plan in plans]
        needed = sum(draft.record.disk_bytes for draft in drafts)
        self._used_bytes += needed
        try:
            self._make_room()
            self._check_disk(needed)
            yield drafts
        finally:
            for draft in drafts:
                if not draft.is_published:
                    self._remove(draft.record)

    def publish(self, drafts: Sequence[LayerWriter], pins: Pins) -> None:
        """Let others find layers that are complete now, and pin them."""
        for draft in drafts:
            draft.is_published = True
            pins.take(self._add(draft.record))

    async def settle(self) -> None:
        """Wait until nothing is left to be deleted."""
        await self._removal.settle()

    async def close(self) -> None:
        """End deleting; the next process does the rest. Nothing may be held any more."""
        await self._removal.close()
        os.close(self._fd)

    def _draft(self, plan: LayerPlan) -> LayerWriter:
        self._last_number += 1
        return LayerWriter(plan, self._last_number, self._fd, self._block_bytes, self._owner)

    def _add(self, record: Record) -> Layer:
        layer = Layer(record, os.path.join(self._directory, str(record.number)))
        self._layers[record.key] = layer
        return layer

    def _make_room(self) -> None:
        """Evict until the limit is kept, or all that is left is in use."""
        if self._used_bytes <= self._max_bytes:  # mostly: no look at thousands of layers then
            self._is_over = False
            return
        for layer in list(self._layers.values()):
            if self._used_bytes <= self._max_bytes:
                break
            if not layer.pins:
                layer.is_there = False
                del self._layers[layer.record.key]
                self._remove(layer.record)
        is_over = self._used_bytes > self._max_bytes
        if is_over and not self._is_over:
            _log.warning(
                "inputs of running actions take %d bytes in %s, more than the limit of %d",
                self._used_bytes,
                self._directory,
                self._max_bytes,
            )
        self._is_over = is_over

    def _check_disk(self, needed_bytes: int) -> None:
        """Before anything is written: a full disk would be everybody's trouble."""
        status = os.fstatvfs(self._fd)
        free = status.f_bavail * status.f_frsize
        if needed_bytes > free + self._removal.waiting_bytes:
            raise StorageFull(
                f"the input root needs {needed_bytes} bytes in {self._directory}, {free} are free "
                "there; free some space on that disk"
            )

    def _remove(self, record: Record) -> None:
        self._used_bytes -= record.disk_bytes
        self._removal.add(self._record_path(record), self._path(record.number), record.disk_bytes)

    def _record_path(self, record: Record) -> str:
        return os.path.join(self._records, record.name)

    def _path(self, number: int) -> str:
        return os.path.join(self._directory, str(number))

    def _load(self) -> None:
        """Take over what earlier processes completed; what is oldest counts as least used."""
        numbers = {int(name) for name in os.listdir(self._directory) if name.isdigit()}
        records = sorted(map(Record.parse, os.listdir(self._records)))
        self._last_number = max(numbers | {record.number for record in records}, default=0)
        self._used_bytes = sum(record.disk_bytes for record in records)
        for record in records:
            if record.number in numbers and record.key not in self._layers:
                self._add(record)
                numbers.remove(record.number)
            else:
                self._remove(record)
        for number in numbers:
            self._remove(Record(number, 0, b""))
        self._make_room()


def _prepare(directory: str, records: str, owner: int | None) -> None:
    """Make the directory. What it has is dropped unless this machine, as booted, wrote it so."""
    os.makedirs(records, exist_ok=True)
    os.chmod(directory, 0o755)  # so that sandboxes can look up layers; above it is private
    stamp, boot = os.path.join(directory, "stamp"), _boot_id()
    wanted = f"{_FORMAT} {boot} {owner}"
    if boot and _content(stamp) == wanted:
        return
    shutil.rmtree(records)
    os.mkdir(records)
    with open(stamp, "w", encoding="ascii") as file:
        file.write(wanted)


def _boot_id() -> str:
    """Another after each start of the machine; "" where the system has none."""
    return _content(_BOOT_ID).strip()


def _content(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except FileNotFoundError:
        return ""
