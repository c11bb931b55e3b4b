"""OperationTable: who asked for which execution, who watches it, how long it is remembered. No I/O.

Times are monotonic seconds and never go back from one call to the next.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from enum import Enum, IntEnum
from itertools import takewhile
from math import inf

from reapi_local.errors import OperationNotFound
from reapi_local.execute.job import Job
from reapi_local.protocol.lookup import ActionKey


class Stage(IntEnum):
    """How far an operation is; it never goes back. The numbers are those of REAPI.

    Source: REAPI v2, ``ExecutionStage.Value``.
    """

    QUEUED = 2
    EXECUTING = 3
    COMPLETED = 4


class EndReason(Enum):
    """Why an operation or a task was ended before it completed."""

    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    ABANDONED = "abandoned"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, eq=False)
class Task:
    """One execution of one action, which operations may share.

    ``timeout``: how many seconds its process may take. ``job``: the job of its first operation; the
    table drops it from completed operations. ``job_bytes``: the size of the job.
    """

    key: ActionKey
    timeout: float
    job: Job | None
    job_bytes: int = 0


@dataclass(frozen=True)
class Operation:
    """One client's call to execute an action, as it is at one moment.

    ``invocation``: the client's tool invocation id. ``started_at``: when its task got a slot, which
    may be before the operation joined it. ``outcome``: None until the operation is completed, then
    the response of its task, or an :class:`EndReason` if the operation ended before its task.
    """

    name: str
    task: Task
    invocation: str
    priority: int
    queued_at: float
    stage: Stage = Stage.QUEUED
    started_at: float | None = None
    outcome: object = None

    @property
    def key(self) -> ActionKey:
        return self.task.key


class OperationTable:
    """All operations by name.

    An operation that no client watched for ``unwatched_grace`` seconds is abandoned. A completed
    operation is remembered for ``keep_seconds``. The oldest are forgotten earlier if there are more
    than ``max_kept``, or if their outcomes have more than ``max_kept_bytes``; the latest operation
    is remembered even if it alone has more.
    """

    def __init__(
        self, *, unwatched_grace: float, keep_seconds: float, max_kept: int, max_kept_bytes: int
    ) -> None:
        self._grace, self._keep = unwatched_grace, keep_seconds
        self._max_kept, self._max_kept_bytes = max_kept, max_kept_bytes
        self._all: dict[str, Operation] = {}
        # A live operation is in one of these: with the number of its watchers, or, if it has none,
        # with the time at which it is abandoned (soonest first).
        self._watchers: dict[str, int] = {}
        self._unwatched: OrderedDict[str, float] = OrderedDict()
        # A completed operation is here, with the time at which it is forgotten (soonest first).
        self._kept: OrderedDict[str, float] = OrderedDict()
        self._kept_bytes: dict[str, int] = {}
        self._all_kept_bytes = 0
        self._deleted: set[str] = set()

    def all(self) -> list[Operation]:
        """All operations, completed ones that are remembered included, in the order they came."""
        return list(self._all.values())

    def get(self, name: str) -> Operation:
        """The operation as it is now.

        Raises:
            OperationNotFound: there is no operation of this name, or not any more.
        """
        operation = self._all.get(name)
        if operation is None:
            raise OperationNotFound(
                f"there is no operation {name[:300]!r}: it was deleted, it ended more than "
                f"{self._keep:g} seconds ago or many operations ended since, or the server was "
                "restarted; execute the action again"
            )
        return operation

    def add(self, operation: Operation) -> None:
        """Add an operation that has no watchers yet."""
        if operation.name in self._all:
            raise ValueError(f"there is an operation {operation.name!r} already")
        self._all[operation.name] = operation
        self._unwatched[operation.name] = operation.queued_at + self._grace

    def start(self, name: str, now: float) -> Operation:
        """The operation's task executes now."""
        return self._change(replace(self._all[name], stage=Stage.EXECUTING, started_at=now))

    def complete(self, name: str, outcome: object, now: float, outcome_bytes: int = 0) -> Operation:
        """The operation ends. From now on it is remembered, without its job."""
        operation = self._all[name]
        task = replace(operation.task, job=None)
        completed = replace(operation, task=task, stage=Stage.COMPLETED, outcome=outcome)
        self._change(completed)
        self._watchers.pop(name, None)
        self._unwatched.pop(name, None)
        self._kept[name] = now + self._keep
        self._kept_bytes[name] = outcome_bytes
        self._all_kept_bytes += outcome_bytes
        if name in self._deleted:
            self._remove(name)
        while self._keeps_too_much():
            self._remove(next(iter(self._kept)))
        return completed

    def _change(self, operation: Operation) -> Operation:
        self._all[operation.name] = operation
        return operation

    def watch(self, name: str) -> Operation:
        """Count a watcher; raises as :meth:`get`."""
        operation = self.get(name)
        if operation.stage != Stage.COMPLETED:
            self._watchers[name] = self._watchers.get(name, 0) + 1
            self._unwatched.pop(name, None)
        return operation

    def unwatch(self, name: str, now: float) -> None:
        """Remove a watcher. The operation may be completed or forgotten by now."""
        if name in self._kept or name not in self._all:
            return
        self._watchers[name] -= 1
        if not self._watchers[name]:
            del self._watchers[name]
            self._unwatched[name] = now + self._grace

    def forget(self, name: str) -> None:
        """Forget the operation as soon as it is completed; raises as :meth:`get`."""
        if self.get(name).stage == Stage.COMPLETED:
            self._remove(name)
        else:
            self._deleted.add(name)

    def abandoned(self, now: float) -> list[Operation]:
        """Live operations that had no watcher for the whole grace period."""
        return [self._all[name] for name in _due(self._unwatched, now)]

    def forget_old(self, now: float) -> None:
        """Forget completed operations whose time is over."""
        for name in _due(self._kept, now):
            self._remove(name)

    def next_event(self) -> float:
        """When the next operation is due to be abandoned or forgotten; infinity if none is."""
        return min(next(iter(times.values()), inf) for times in (self._unwatched, self._kept))

    def _keeps_too_much(self) -> bool:
        count, size = len(self._kept), self._all_kept_bytes
        return count > self._max_kept or (count > 1 and size > self._max_kept_bytes)

    def _remove(self, name: str) -> None:
        del self._all[name], self._kept[name]
        self._all_kept_bytes -= self._kept_bytes.pop(name)
        self._deleted.discard(name)

    def check_invariants(self) -> None:
        """Raise AssertionError if the tables of this class contradict each other."""
        for name, operation in self._all.items():
            assert operation.started_at is None or operation.stage != Stage.QUEUED
            books = (self._watchers, self._unwatched, self._kept)
            holding = [book for book in books if name in book]
            assert len(holding) == 1, f"{name} is in {len(holding)} books"
            assert (holding[0] is self._kept) == (operation.stage == Stage.COMPLETED)
        assert len(self._all) == len(self._watchers) + len(self._unwatched) + len(self._kept)
        assert all(count > 0 for count in self._watchers.values())
        assert self._deleted <= self._watchers.keys() | self._unwatched.keys()
        assert not self._keeps_too_much()
        assert self._kept_bytes.keys() == self._kept.keys()
        assert self._all_kept_bytes == sum(self._kept_bytes.values())
        assert all(self._all[name].task.job is None for name in self._kept)
        for times in (self._unwatched, self._kept):
            assert list(times.values()) == sorted(times.values())


def _due(times: OrderedDict[str, float], now: float) -> list[str]:
    return list(takewhile(lambda name: times[name] <= now, times))
