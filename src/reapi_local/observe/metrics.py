"""Counters of what happens since the start, for Prometheus and for the status.

What is counted by method, instance or outcome is a series of its own; each is looked up once and
then kept, because looking one up costs more than counting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
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
    CallEnded,
    EntryRemoved,
    EventStream,
    GenerationEvicted,
    LookedUp,
    ResultWritten,
    Source,
)
from reapi_local.protocol.lookup import Hit

OTHER_INSTANCES: Final = "(others)"
"""Where instances beyond the first thousand are counted together: clients make up their names."""

_MAX_INSTANCES: Final = 1000
_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0)
_HIT: Final = "hit"
_LOOKUP_METHOD: Final = "ActionCache/GetActionResult"
_CODES: Final[dict[int, str]] = {int(code): code.name for code in Code}


class Metrics:
    """Counts events. A check that the server makes of itself is nobody's call."""

    def __init__(self, describe_store: Callable[[], StoreStatus]) -> None:
        self._registry = registry = CollectorRegistry()
        registry.register(_StoreCollector(describe_store))
        self._calls = Histogram(
            "reapi_call_seconds",
            "gRPC calls by method and status, and how long they took",
            ("method", "code"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._lookups = Counter(
            "reapi_action_cache_lookups",
            "look-ups by outcome: hit, or why it was a miss; by clients, or to execute",
            ("instance", "outcome", "source"),
            registry=registry,
        )
        self._writes = Counter(
            "reapi_action_cache_writes",
            "action results written, by clients or by executions",
            ("instance", "source"),
            registry=registry,
        )
        self._removed = Counter(
            "reapi_action_cache_entries_removed",
            "entries that could not be answered with, by reason",
            ("instance", "reason"),
            registry=registry,
        )
        self._blobs = Counter(
            "reapi_blobs", "blobs taken in and handed out", ("direction",), registry=registry
        )
        self._blob_bytes = Counter(
            "reapi_blob_bytes", "bytes of those blobs", ("direction",), registry=registry
        )
        self._actions = Histogram(
            "reapi_action_seconds",
            "actions executed by status, and how long they had a slot",
            ("instance", "code"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._executing = Gauge(
            "reapi_actions_executing", "actions that have a slot now", registry=registry
        )
        self._evictions = Counter(
            "reapi_store_generations_evicted", "generations evicted", registry=registry
        )
        self._instances: set[str] = set()
        self._call_series: dict[tuple[str, int], Histogram] = {}
        self._lookup_series: dict[tuple[str, str, str], Counter] = {}

    def subscribe_to(self, events: EventStream) -> None:
        """Begin to count."""
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
        """Calls by method. A miss is an answer, and a client that goes away is no error."""
        counts: dict[str, list[int]] = {}
        for labels, value in self._samples("reapi_call_seconds_count"):
            method, code = labels["method"], labels["code"]
            is_good = code in ("OK", "CANCELLED") or (
                method == _LOOKUP_METHOD and code == "NOT_FOUND"
            )
            count = counts.setdefault(method, [0, 0])
            count[0] += value
            count[1] += 0 if is_good else value
        return {method: CallCount(*count) for method, count in counts.items()}

    def caches(self) -> dict[str, CacheCount]:
        """Look-ups and writes of clients by instance."""
        counts: dict[str, dict[str, int]] = {}
        for labels, value in self._samples("reapi_action_cache_lookups_total"):
            if labels["source"] == Source.CLIENT:
                count = counts.setdefault(labels["instance"], {})
                name = "hits" if labels["outcome"] == _HIT else "misses"
                count[name] = count.get(name, 0) + value
        for labels, value in self._samples("reapi_action_cache_writes_total"):
            if labels["source"] == Source.CLIENT:
                counts.setdefault(labels["instance"], {})["writes"] = value
        return {instance: CacheCount(**count) for instance, count in counts.items()}

    def executions(self) -> dict[str, ExecutionCount]:
        """Actions that were to be executed, by instance."""
        counts: dict[str, dict[str, int]] = {}
        for labels, value in self._samples("reapi_action_seconds_count"):
            name = "executed" if labels["code"] == "OK" else "failed"
            count = counts.setdefault(labels["instance"], {})
            count[name] = count.get(name, 0) + value
        for labels, value in self._samples("reapi_action_cache_lookups_total"):
            if labels["source"] == Source.EXECUTION and labels["outcome"] == _HIT:
                counts.setdefault(labels["instance"], {})["cached"] = value
        return {instance: ExecutionCount(**count) for instance, count in counts.items()}

    def _samples(self, name: str) -> Iterator[tuple[dict[str, str], int]]:
        for metric in self._registry.collect():
            for sample in metric.samples:
                if sample.name == name:
                    yield sample.labels, int(sample.value)

    def _call_ended(self, event: CallEnded) -> None:
        if event.raw_metadata and is_self_check(event.raw_metadata):
            return
        key = event.method, event.code
        series = self._call_series.get(key)
        if series is None:
            code = _CODES.get(event.code, str(event.code))
            series = self._call_series[key] = self._calls.labels(event.method, code)
        series.observe(event.seconds)

    def _looked_up(self, event: LookedUp) -> None:
        context, outcome = event.context, event.outcome
        if is_self_check(context.raw_metadata):
            return
        what = _HIT if isinstance(outcome, Hit) else outcome.reason
        key = self._instance_label(context), what, event.source
        series = self._lookup_series.get(key)
        if series is None:
            series = self._lookup_series[key] = self._lookups.labels(*key)
        series.inc()

    def _result_written(self, event: ResultWritten) -> None:
        if not is_self_check(event.context.raw_metadata):
            self._writes.labels(self._instance_label(event.context), event.source).inc()

    def _entry_removed(self, event: EntryRemoved) -> None:
        self._removed.labels(self._instance_label(event.context), event.reason).inc()

    def _blobs_read(self, event: BlobsRead) -> None:
        self._count_blobs("out", event)

    def _blobs_written(self, event: BlobsWritten) -> None:
        self._count_blobs("in", event)

    def _count_blobs(self, direction: str, event: BlobsRead | BlobsWritten) -> None:
        if not is_self_check(event.context.raw_metadata):
            self._blobs.labels(direction).inc(event.blobs)
            self._blob_bytes.labels(direction).inc(event.size_bytes)

    def _action_started(self, event: ActionStarted) -> None:
        self._executing.inc()

    def _action_ended(self, event: ActionEnded) -> None:
        self._executing.dec()
        if not is_self_check(event.context.raw_metadata):
            code = _CODES.get(event.code, str(event.code))
            self._actions.labels(self._instance_label(event.context), code).observe(event.seconds)

    def _generation_evicted(self, event: GenerationEvicted) -> None:
        self._evictions.inc()

    def _instance_label(self, context: Context) -> str:
        instance = context.instance
        if instance not in self._instances:
            if len(self._instances) >= _MAX_INSTANCES:
                return OTHER_INSTANCES
            self._instances.add(instance)
        return instance


class _StoreCollector(Collector):
    """Asks the store at each scrape, so that nothing has to be kept up to date."""

    def __init__(self, describe: Callable[[], StoreStatus]) -> None:
        self._describe = describe

    def collect(self) -> Iterator[Metric]:
        status = self._describe()
        for name, text, value in (
            ("max_bytes", "what the store may take on disk", status.max_bytes),
            ("disk_bytes", "what it takes now", status.disk_bytes),
            ("free_disk_bytes", "free on its file system", status.free_disk_bytes),
            ("generations", "generations that it has", status.generations),
        ):
            yield GaugeMetricFamily(f"reapi_store_{name}", text, value=value)
