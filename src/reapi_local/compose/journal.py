"""Where runs and reports are kept, in the journal or nowhere, and who explains them."""

from __future__ import annotations

import os
from collections.abc import Callable

from reapi_contract.data_dir import JOURNAL
from reapi_local.clock import Clock
from reapi_local.compose.storage import Storage
from reapi_local.config.schema import Config
from reapi_local.explain.explanations import Explanations
from reapi_local.journal.journal import Journal
from reapi_local.journal.no_journal import NoJournal
from reapi_local.journal.writer import Bounds
from reapi_local.store.blob_store import BlobStore


def make_records(
    config: Config, blobs: BlobStore, clock: Clock, label: Callable[[str], str]
) -> Journal | NoJournal:
    """The journal that the settings ask for."""
    settings = config.history
    if settings.journal == "off":
        return NoJournal(clock)
    bounds = Bounds(settings.journal_size, settings.journal_age)
    return Journal(os.path.join(config.data_dir, JOURNAL), bounds, blobs, clock, label)


def make_explanations(records: Journal | NoJournal, storage: Storage, clock: Clock) -> Explanations:
    """Who explains the runs of the journal."""
    journal = records if isinstance(records, Journal) else None
    return Explanations(journal, storage.kept_results, storage.blobs, clock)
