"""Puts events of the server into the journal."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Final

from reapi_local.context import SELF_CHECK, Context, is_self_check
from reapi_local.events import (
    ActionEnded,
    ActionStarted,
    BlobsRead,
    BlobsWritten,
    CacheUser,
    CallEnded,
    EntryRemoved,
    GenerationEvicted,
    LookedUp,
    ResultWritten,
)
from reapi_local.journal.entries import Effects, Unread
from reapi_local.journal.lookups import Packed, pack
from reapi_local.journal.numbers import KnownAction, Numbers
from reapi_local.journal.result_facts import ResultFacts, facts_of
from reapi_local.journal.schema import DAY_SECONDS, OUTCOMES
from reapi_local.protocol.digest import Digest
from reapi_local.protocol.lookup import Hit, Miss, MissReason

UPLOADS: Final = frozenset(("ByteStream/Write", "ContentAddressableStorage/BatchUpdateBlobs"))
DOWNLOADS: Final = frozenset(("ByteStream/Read", "ContentAddressableStorage/BatchReadBlobs"))
_MAX_NAMED: Final = 20
_HIT: Final = OUTCOMES.index("hit")
_MISSES: Final = {reason: OUTCOMES.index(reason.value) for reason in MissReason}
_UP_BYTES, _UP_MS, _DOWN_BYTES, _DOWN_MS, _EVICTED = range(5)


class _RunSums:
    """What a run adds to its row with one batch."""

    __slots__ = ("at", "hit_bytes", "hit_ms", "hits", "lookups", "number", "ran_ms")

    def __init__(self, number: int) -> None:
        self.number, self.at = number, 0.0
        self.hits = self.hit_bytes = self.hit_ms = self.ran_ms = 0
        self.lookups: list[Packed] = []


class EventsKept:
    """Sums up a batch of events in memory, and writes the sums with :meth:`flush`."""

    def __init__(
        self, connection: sqlite3.Connection, numbers: Numbers, label: Callable[[str], str]
    ) -> None:
        self._connection, self._numbers, self._label = connection, numbers, label
        self._queued: dict[Digest, float] = {}
        self._handlers: dict[type, Callable[[float, Any, Effects], None]] = {
            LookedUp: self._looked_up,
            ResultWritten: self._result_written,
            EntryRemoved: self._entry_removed,
            ActionStarted: self._action_started,
            ActionEnded: self._action_ended,
            BlobsRead: self._blobs_read,
            BlobsWritten: self._blobs_written,
            CallEnded: self._call_ended,
            GenerationEvicted: self._generation_evicted,
        }
        self._begin()

    def _begin(self) -> None:
        self._runs: dict[int, _RunSums] = {}
        self._last: tuple[bytes, str, _RunSums | None] = (b"", "", None)
        self._results: list[tuple[Any, ...]] = []
        self._costs: defaultdict[tuple[int, str], list[float]] = defaultdict(lambda: [0.0] * 5)

    def expect(self, events: Iterable[object]) -> None:
        """These events are about to be kept."""
        kinds = (LookedUp, ResultWritten)
        self._numbers.expect(event.action for event in events if isinstance(event, kinds))

    def keep(self, at: float, event: object, effects: Effects) -> None:
        """Keep one event."""
        self._handlers[type(event)](at, event, effects)

    def forget(self) -> None:
        """Drop what isn't written yet, after a rollback."""
        self._begin()

    def flush(self) -> None:
        """Write what was summed up."""
        many = self._connection.executemany
        self._numbers.flush()
        if self._runs:
            runs = self._runs.values()
            many(
                "INSERT INTO lookups (run, packed) VALUES (?, ?)",
                [(run.number, pack(run.lookups)) for run in runs if run.lookups],
            )
            many(
                "UPDATE runs SET last_call_at = max(last_call_at, ?), hits = hits + ?,"
                " misses = misses + ?, hit_bytes = hit_bytes + ?, hit_ms = hit_ms + ?,"
                " ran_ms = ran_ms + CASE WHEN report IS NULL THEN ? ELSE 0 END WHERE id = ?",
                [
                    (
                        *(run.at, run.hits, len(run.lookups) - run.hits, run.hit_bytes),
                        *(run.hit_ms, run.ran_ms, run.number),
                    )
                    for run in runs
                ],
            )
        if self._results:
            many(
                "INSERT INTO results (action, instance, at, writer, run, executed, exit_code)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                self._results,
            )
        if self._costs:
            many(
                "INSERT INTO cost_days VALUES (?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (day, instance) DO UPDATE SET"
                " uploaded_bytes = uploaded_bytes + excluded.uploaded_bytes,"
                " upload_ms = upload_ms + excluded.upload_ms,"
                " downloaded_bytes = downloaded_bytes + excluded.downloaded_bytes,"
                " download_ms = download_ms + excluded.download_ms,"
                " evicted_bytes = evicted_bytes + excluded.evicted_bytes",
                [(*key, *sums) for key, sums in self._costs.items()],
            )
        self._begin()

    def _looked_up(self, at: float, event: LookedUp, effects: Effects) -> None:
        context, action, outcome, user = event
        if user is not CacheUser.CLIENT:
            return
        run = self._run(context, at)
        if run is None:
            return
        known = self._numbers.action(action, at)
        if type(outcome) is Hit:
            trees: tuple[Digest, ...] = ()
            if known.output_bytes is None:
                trees = self._learn(known, action, outcome.stored.result).trees
            run.hits += 1
            run.hit_bytes += known.output_bytes or 0
            run.hit_ms += known.ran_ms or 0
            run.lookups.append((at, known.number, _HIT))
            if not known.is_read:
                _want(known, Unread(action, context.metadata.description, trees, False), effects)
        elif isinstance(outcome, Miss):
            run.lookups.append((at, known.number, _MISSES[outcome.reason]))

    def _result_written(self, at: float, event: ResultWritten, effects: Effects) -> None:
        context, action, stored, user = event
        if is_self_check(context.raw_metadata):
            return
        known = self._numbers.action(action, at)
        facts = self._learn(known, action, stored.result)
        executed = user is CacheUser.EXECUTION
        self._results.append(
            (
                *(known.number, context.instance, at, stored.written_by, stored.invocation),
                *(executed, facts.exit_code),
            )
        )
        if not known.is_read:
            description = context.metadata.description
            _want(known, Unread(action, description, facts.trees, executed), effects)

    def _learn(self, known: KnownAction, action: Digest, result: bytes) -> ResultFacts:
        """Keep the sizes and the duration that a result tells. Those of Trees are added later."""
        facts = facts_of(result, action.function)
        known.output_bytes, known.ran_ms = facts.output_bytes, facts.ran_ms
        known.is_read = known.is_read and not facts.trees
        self._numbers.changed(known)
        return facts

    def _entry_removed(self, at: float, event: EntryRemoved, effects: Effects) -> None:
        context, action, reason, missing = event
        known = self._numbers.action(action, at)
        self._connection.execute(
            "INSERT INTO removals (action, instance, at, reason, missing) VALUES (?, ?, ?, ?, ?)",
            (known.number, context.instance, at, reason.value, _named(missing)),
        )

    def _action_started(self, at: float, event: ActionStarted, effects: Effects) -> None:
        self._queued[event.action] = event.queued_seconds

    def _action_ended(self, at: float, event: ActionEnded, effects: Effects) -> None:
        context, action, code, exit_code, seconds = event
        queued = self._queued.pop(action, 0.0)
        metadata = context.metadata
        if metadata.tool_name == SELF_CHECK:
            return
        known = self._numbers.action(action, at)
        run = self._run(context, at)
        if run is not None:
            run.ran_ms += round(seconds * 1000)
        self._connection.execute(
            "INSERT INTO executions (action, run, instance, at, queued_ms, ran_ms, code, exit_code)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(known.number, run and run.number, context.instance, at, round(queued * 1000)),
                *(round(seconds * 1000), code, exit_code),
            ),
        )
        _want(known, Unread(action, metadata.description, (), True), effects)

    def _blobs_read(self, at: float, event: BlobsRead, effects: Effects) -> None:
        self._cost(at, event.context, _DOWN_BYTES, event.size_bytes)

    def _blobs_written(self, at: float, event: BlobsWritten, effects: Effects) -> None:
        self._cost(at, event.context, _UP_BYTES, event.size_bytes)

    def _call_ended(self, at: float, event: CallEnded, effects: Effects) -> None:
        method, _, seconds, _, context = event
        if context is not None:
            self._cost(at, context, _UP_MS if method in UPLOADS else _DOWN_MS, seconds * 1000)

    def _generation_evicted(self, at: float, event: GenerationEvicted, effects: Effects) -> None:
        number, before, after = event
        self._costs[int(at // DAY_SECONDS), ""][_EVICTED] += max(0, before - after)
        self._connection.execute(
            "INSERT INTO evictions (at, generation, bytes_before, bytes_after) VALUES (?, ?, ?, ?)",
            (at, number, before, after),
        )

    def _cost(self, at: float, context: Context, what: int, amount: float) -> None:
        if not is_self_check(context.raw_metadata):
            self._costs[int(at // DAY_SECONDS), self._label(context.instance)][what] += amount

    def _run(self, context: Context, at: float) -> _RunSums | None:
        """The sums of the run that makes a call; None if the call names none."""
        raw, instance, run = self._last
        # Consecutive calls mostly belong to one run.
        if raw != context.raw_metadata or instance != context.instance:
            run = self._run_named(context, at)
            self._last = context.raw_metadata, context.instance, run
        if run is not None:
            run.at = at
        return run

    def _run_named(self, context: Context, at: float) -> _RunSums | None:
        metadata = context.metadata
        if not metadata.invocation_id or metadata.tool_name == SELF_CHECK:
            return None
        name = metadata.invocation_id, context.instance
        number = self._numbers.run(*name, metadata.tool, at)
        return self._runs.setdefault(number, _RunSums(number))


def _want(known: KnownAction, unread: Unread, effects: Effects) -> None:
    if not known.is_read:
        known.is_read = True
        effects.unread.append(unread)


def _named(digests: tuple[Digest, ...]) -> str:
    return " ".join(map(str, digests[:_MAX_NAMED]))
