"""Counts of events since the start, for Prometheus and for the status.

They are plain numbers while calls are served, which costs a fraction of a microsecond per event. A
collector turns them into series for Prometheus at each scrape.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from reapi_contract.admin_api import CacheCount, CallCount, ExecutionCount, StoreStatus
from reapi_local.context import Context, is_self_check
from reapi_local.errors import Code
from reapi_local.events import (
    ActionEnded,
    ActionStarted,
    BlobsRead,
    BlobsWritten,
    CacheUser,
    CallEnded,
    EntryRemoved,
    EventStream,
    GenerationEvicted,
    LookedUp,
    ResultWritten,
)
from reapi_local.observe.series import Durations, Labels, counter_family, histogram_family
from reapi_local.protocol.lookup import Hit

_HIT: Final = "hit"
_IN, _OUT = "in", "out"
_LOOKUP_METHOD: Final = "ActionCache/GetActionResult"


class Metrics:
    """Counts events. Self-checks are not counted.

    ``label`` returns the name under which an instance is counted, one of a bounded number.
    ``journal_dropped`` returns how many entries the journal had no room for.
    """

    def __init__(
        self,
        describe_store: Callable[[], StoreStatus],
        label: Callable[[str], str],
        journal_dropped: Callable[[], int],
    ) -> None:
        self._describe_store, self._label = describe_store, label
        self._journal_dropped = journal_dropped
        self._calls: defaultdict[tuple[str, int], Durations] = defaultdict(Durations)
        self._lookups: Counter[Labels] = Counter()
        self._writes: Counter[Labels] = Counter()
        self._removed: Counter[Labels] = Counter()
        self._blobs: Counter[Labels] = Counter()
        self._blob_bytes: Counter[Labels] = Counter()
        self._actions: defaultdict[tuple[str, int], Durations] = defaultdict(Durations)
        self._executing = self._evictions = 0
        self._registry = CollectorRegistry()
        self._registry.register(_AtScrape(self._families))

    def subscribe_to(self, events: EventStream) -> None:
        """Start to count."""
        events.subscribe(CallEnded, self._call_ended)
        events.subscribe(LookedUp, self._looked_up)
        events.subscribe(ResultWritten, self._result_written)
        events.subscribe(EntryRemoved, self._entry_removed)
        events.subscribe(BlobsRead, self._blobs_read)
        events.subscribe(BlobsWritten, self._blobs_written)
        events.subscribe(ActionStarted, self._action_started)
        events.subscribe(ActionEnded, self._action_ended)
        events.subscribe(GenerationEvicted, self._generation_evicted)

    def exposition(self) -> bytes:
        """All series in Prometheus' text format."""
        return generate_latest(self._registry)

    def calls(self) -> dict[str, CallCount]:
        """Calls by method."""
        counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
        for (method, code), durations in self._calls.items():
            counts[method][0] += durations.count
            counts[method][1] += 0 if _is_good(method, code) else durations.count
        return {method: CallCount(*count) for method, count in counts.items()}

    def caches(self) -> dict[str, CacheCount]:
        """Lookups and writes of clients by instance."""
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for (instance, outcome, user), number in self._lookups.items():
            if user == CacheUser.CLIENT:
                counts[instance]["hits" if outcome == _HIT else "misses"] += number
        for (instance, user), number in self._writes.items():
            if user == CacheUser.CLIENT:
                counts[instance]["writes"] += number
        return {instance: CacheCount(**count) for instance, count in counts.items()}

    def executions(self) -> dict[str, ExecutionCount]:
        """Execution requests by instance: executed, failed, or answered from the action cache."""
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for (instance, code), durations in self._actions.items():
            counts[instance]["executed" if code == Code.OK else "failed"] += durations.count
        for (instance, outcome, user), number in self._lookups.items():
            if user == CacheUser.EXECUTION and outcome == _HIT:
                counts[instance]["cached"] += number
        return {instance: ExecutionCount(**count) for instance, count in counts.items()}

    def _call_ended(self, event: CallEnded) -> None:
        method, code, seconds, raw_metadata, _ = event
        if not is_self_check(raw_metadata):
            self._calls[method, code].add(seconds)

    def _looked_up(self, event: LookedUp) -> None:
        context, _, outcome, user = event
        if not is_self_check(context.raw_metadata):
            what = _HIT if isinstance(outcome, Hit) else outcome.reason
            self._lookups[self._label(context.instance), what, user] += 1

    def _result_written(self, event: ResultWritten) -> None:
        if not is_self_check(event.context.raw_metadata):
            self._writes[self._label(event.context.instance), event.user] += 1

    def _entry_removed(self, event: EntryRemoved) -> None:
        self._removed[self._label(event.context.instance), event.reason] += 1

    def _blobs_read(self, event: BlobsRead) -> None:
        self._count_blobs(_OUT, *event)

    def _blobs_written(self, event: BlobsWritten) -> None:
        self._count_blobs(_IN, *event)

    def _count_blobs(self, direction: str, context: Context, blobs: int, size_bytes: int) -> None:
        if not is_self_check(context.raw_metadata):
            self._blobs[direction,] += blobs
            self._blob_bytes[direction,] += size_bytes

    def _action_started(self, event: ActionStarted) -> None:
        self._executing += 1

    def _action_ended(self, event: ActionEnded) -> None:
        self._executing -= 1
        if not is_self_check(event.context.raw_metadata):
            self._actions[self._label(event.context.instance), event.code].add(event.seconds)

    def _generation_evicted(self, event: GenerationEvicted) -> None:
        self._evictions += 1

    def _families(self) -> Iterator[Metric]:
        yield histogram_family(
            "reapi_call_seconds",
            "gRPC calls by method and status; seconds that they took",
            ("method", "code"),
            {(method, _name(code)): each for (method, code), each in self._calls.items()},
        )
        yield counter_family(
            "reapi_action_cache_lookups",
            "lookups by outcome: hit, or the reason of the miss; by clients or by executions",
            ("instance", "outcome", "user"),
            self._lookups,
        )
        yield counter_family(
            "reapi_action_cache_writes",
            "action results written, by clients or by executions",
            ("instance", "user"),
            self._writes,
        )
        yield counter_family(
            "reapi_action_cache_entries_removed",
            "entries removed because they could not be used, by reason",
            ("instance", "reason"),
            self._removed,
        )
        yield counter_family(
            "reapi_blobs", "blobs received (in) and sent (out)", ("direction",), self._blobs
        )
        yield counter_family(
            "reapi_blob_bytes",
            "bytes received (in) and sent (out)",
            ("direction",),
            self._blob_bytes,
        )
        yield histogram_family(
            "reapi_action_seconds",
            "executed actions by status; seconds from getting a slot until the outputs are stored",
            ("instance", "code"),
            {(instance, _name(code)): each for (instance, code), each in self._actions.items()},
        )
        yield GaugeMetricFamily(
            "reapi_actions_executing",
            "actions that have got a slot and whose outputs aren't stored yet",
            self._executing,
        )
        yield counter_family(
            "reapi_store_generations_evicted", "generations evicted", (), {(): self._evictions}
        )
        yield counter_family(
            "reapi_journal_dropped",
            "events and reports that the journal had no room for",
            (),
            {(): self._journal_dropped()},
        )
        yield from _store_families(self._describe_store())


class _AtScrape(Collector):
    def __init__(self, families: Callable[[], Iterator[Metric]]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return self._families()


def _store_families(status: StoreStatus) -> Iterator[Metric]:
    for name, text, value in (
        ("max_bytes", "the size limit of the store on disk", status.max_bytes),
        ("disk_bytes", "the size of the store on disk", status.disk_bytes),
        ("free_disk_bytes", "bytes free on the store's file system", status.free_disk_bytes),
        ("generations", "generations in the store", status.generations),
    ):
        yield GaugeMetricFamily(f"reapi_store_{name}", text, value=value)


def _is_good(method: str, code: int) -> bool:
    """A cache miss is no error, and neither is a client that disconnects."""
    if method == _LOOKUP_METHOD and code == Code.NOT_FOUND:
        return True
    return code in (Code.OK, Code.CANCELLED)


def _name(code: int) -> str:
    try:
        return Code(code).name
    except ValueError:
        return str(code)
