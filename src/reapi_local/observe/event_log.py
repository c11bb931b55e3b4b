"""Log lines for events that an operator may have to act on."""

from __future__ import annotations

import logging

from reapi_local.events import BlobQuarantined, EntryRemoved, EventStream, GenerationEvicted

_log = logging.getLogger(__name__)


class EventLog:
    """Writes some events to Python's logging."""

    def subscribe_to(self, events: EventStream) -> None:
        events.subscribe(EntryRemoved, self._entry_removed)
        events.subscribe(BlobQuarantined, self._blob_quarantined)
        events.subscribe(GenerationEvicted, self._generation_evicted)

    def _entry_removed(self, event: EntryRemoved) -> None:
        missing = event.missing
        why = f"{len(missing)} blobs are missing, the first is {missing[0]}" if missing else ""
        _log.info("result of action %s was removed: %s %s", event.action, event.reason, why)

    def _blob_quarantined(self, event: BlobQuarantined) -> None:
        _log.error("blob %s is corrupt in %s: quarantined", event.digest, event.where)

    def _generation_evicted(self, event: GenerationEvicted) -> None:
        _log.info(
            "evicted generation %d: %d bytes before, %d after",
            event.number,
            event.bytes_before,
            event.bytes_after,
        )
