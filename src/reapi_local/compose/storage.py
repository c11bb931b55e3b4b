"""The store of a server: which classes, stacked in which order."""

from __future__ import annotations

import os
from typing import Final

from reapi_contract import ready_line
from reapi_contract.data_dir import STORE
from reapi_local.clock import Clock
from reapi_local.compose.cannot_start import CannotStart
from reapi_local.config.schema import Config
from reapi_local.events import CacheUser, EventStream
from reapi_local.store.action_cache import ActionCache
from reapi_local.store.blob_store import BlobStore
from reapi_local.store.completeness import CompleteActionCache
from reapi_local.store.local.capacity import free_disk_bytes
from reapi_local.store.local.generation_results import GenerationActionCache
from reapi_local.store.local.generation_store import GenerationStore
from reapi_local.store.local.rotation import StoreLimits
from reapi_local.store.observed import ObservedActionCache, ObservedBlobStore

_SHORTEST_LEASE_SECONDS = 1e-9
"""The lease for a setting of 0. It expires at once."""
_MIN_STORE_BYTES: Final = 1024**2


class Storage:
    """Blobs and action results. To use another kind of store, replace it here.

    Services use ``client_blobs`` and ``client_results``, which emit events of clients. The executor
    uses ``execution_results``, whose events name it as the user, and ``blobs``, which emits no
    events for reads and writes, so that metrics count only blobs that clients transfer.
    ``kept_results`` has the entries as they are, complete or not, and emits no events for look-ups.
    """

    def __init__(self, config: Config, clock: Clock, events: EventStream) -> None:
        settings = config.store
        limits = StoreLimits(
            settings.max_size, settings.min_free, settings.lease or _SHORTEST_LEASE_SECONDS
        )
        self._local = GenerationStore(
            os.path.join(config.data_dir, STORE),
            limits,
            clock,
            events,
            durable=settings.sync == "full",
        )
        self.kept_results = GenerationActionCache(self._local, events)
        results = CompleteActionCache(self.kept_results, self._local, events)
        self.blobs = self._local
        self.client_blobs: BlobStore = ObservedBlobStore(self._local, events)
        self.client_results: ActionCache = ObservedActionCache(results, events, CacheUser.CLIENT)
        self.execution_results: ActionCache = ObservedActionCache(
            results, events, CacheUser.EXECUTION
        )

    async def close(self) -> None:
        await self._local.close()


def open_storage(config: Config, clock: Clock, events: EventStream) -> Storage:
    """The storage in the data directory. Raises CannotStart if it can't be opened."""
    try:
        return Storage(config, clock, events)
    except Exception as error:
        why = f"the store in {config.data_dir} can't be opened: {error}"
        if free_disk_bytes(config.data_dir) < _MIN_STORE_BYTES:
            raise CannotStart(
                ready_line.DISK_FULL, why, f"free some space on the disk of {config.data_dir}"
            ) from error
        raise CannotStart(
            ready_line.DATA_DIR_UNUSABLE,
            why,
            "choose another place with --data-dir, or delete the folder "
            f"{os.path.join(config.data_dir, STORE)}, which discards the cache",
        ) from error
