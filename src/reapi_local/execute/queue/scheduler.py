"""The scheduler: which action executes when, and when it has to end. A state machine without I/O.

Each step is told what time it is, in monotonic seconds that never go back, and returns what its
driver has to do then, in that order. What isn't returned needn't be done.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import inf

from reapi_local.errors import Draining, QueueFull
from reapi_local.execute.job import Job
from reapi_local.execute.queue.fair_queue import FairQueue
from reapi_local.execute.queue.operation_table import Operation, OperationTable, Reason, Stage, Task
from reapi_local.protocol.lookup import ActionKey


@dataclass(frozen=True)
class Start:
    """Carry the task out; report :meth:`Scheduler.started`, :meth:`Scheduler.ended` if its process
    did end, and :meth:`Scheduler.finished`.
    """

    task: Task


@dataclass(frozen=True)
class Kill:
    """End a task that executes. It keeps its slot until it is reported to have ended."""

    task: Task
    why: Reason


@dataclass(frozen=True)
class Notify:
    """Tell the operation's watchers its new stage. It may be forgotten already."""

    operation: Operation


Effect = Start | Kill | Notify


class Scheduler:
    """Executes at most ``slots`` tasks at once, and lets at most ``max_queued`` operations wait,
    whose jobs, with those that execute, have at most ``max_job_bytes``.

    The most urgent priority goes first, and that is the lowest number. Among equals the invocation
    with the fewest tasks executing goes first, then the one that was served longest ago; within an
    invocation it is first come, first served. So nobody waits for the whole queue of a huge build.
    Every eighth start looks at priority last, so low-priority work can't starve.

    Equal actions share one task: it starts when the first of its operations gets its turn, and is
    killed when the last has gone. One that is being killed is joined no more.

    While the outputs of a task are stored, another has its slot: so long as there are no more than
    ``max_storing`` of them.

    ``grace_seconds``, ``keep_seconds``, ``max_kept`` and ``max_kept_bytes``: see
    :class:`OperationTable`.
    """

    def __init__(
        self,
        slots: int,
        *,
        max_storing: int = 2,
        max_queued: int = 100_000,
        max_job_bytes: int = 512 * 1024 * 1024,
        grace_seconds: float = 10.0,
        keep_seconds: float = 600.0,
        max_kept: int = 10_000,
        max_kept_bytes: int = 256 * 1024 * 1024,
    ) -> None:
        self._slots, self._max_storing = slots, max_storing
        self._max_queued, self._max_job_bytes = max_queued, max_job_bytes
        self._occupied = self._job_bytes = 0
        self._operations = OperationTable(
            grace_seconds=grace_seconds,
            keep_seconds=keep_seconds,
            max_kept=max_kept,
            max_kept_bytes=max_kept_bytes,
        )
        self._queue = FairQueue()
        self._flights: dict[Task, _Flight] = {}
        self._executing: dict[Task, _Flight] = {}
        self._shared: dict[ActionKey, Task] = {}
        self._draining = False

    def submit(
        self,
        name: str,
        key: ActionKey,
        now: float,
        *,
        invocation: str = "",
        priority: int = 0,
        timeout: float = inf,
        mergeable: bool = True,
        job: Job | None = None,
        job_bytes: int = 0,
    ) -> list[Effect]:
        """Begin an operation under a new name. Watch it at once: its grace period has begun.

        ``job`` is what the driver needs to carry the task out, and goes unused where the operation
        joins a task. Operations without an invocation count as those of one.

        Raises:
            QueueFull: it would have to wait, and too many do, or too large ones.
            Draining: the server is stopping.
        """
        task = self._shared.get(key) if mergeable else None
        self._admit(task, job_bytes)
        operation = Operation(
            name, task or Task(key, timeout, job, job_bytes), invocation, priority, now
        )
        self._operations.add(operation)
        if task is None:
            self._flights[operation.task] = _Flight()
            self._job_bytes += job_bytes
        flight = self._flights[operation.task]
        flight.operations[name] = None
        if mergeable:
            self._shared[key] = operation.task
        if flight.started_at is not None:
            return [Notify(self._operations.start(name, flight.started_at))]
        self._queue.add(operation)
        return self._fill_slots(now)

    def cancel(self, name: str, now: float) -> list[Effect]:
        """End an operation for its client; nothing happens to one that is completed.

        Raises:
            OperationNotFound: it never was, or is forgotten.
        """
        operation = self._operations.get(name)
        if operation.stage == Stage.COMPLETED:
            return []
        return self._end(operation, Reason.CANCELLED, now)

    def forget(self, name: str) -> None:
        """Its client has lost interest in an operation; one in flight is forgotten at its end.

        Raises:
            OperationNotFound: it never was, or is forgotten.
        """
        self._operations.forget(name)

    def watch(self, name: str) -> Operation:
        """A client's stream on the operation opens, and begins with what this returns.

        Raises:
            OperationNotFound: it never was, or is forgotten.
        """
        return self._operations.watch(name)

    def unwatch(self, name: str, now: float) -> None:
        """A stream that was opened with :meth:`watch` closes, for whatever reason."""
        self._operations.unwatch(name, now)

    def lookup(self, name: str) -> Operation:
        """The operation as it is now.

        Raises:
            OperationNotFound: it never was, or is forgotten.
        """
        return self._operations.get(name)

    def operations(self) -> list[Operation]:
        """Those in flight and those remembered, in the order they came."""
        return self._operations.all()

    def started(self, task: Task, now: float) -> None:
        """The task's process runs: from now on its timeout counts, and anew if it is run again."""
        flight = self._executing[task]
        if not flight.is_killed:
            flight.deadline = now + task.timeout

    def ended(self, task: Task, now: float) -> list[Effect]:
        """The task's process has ended; its outputs are still to be stored."""
        self._vacate(self._executing[task])
        return self._fill_slots(now)

    def finished(
        self, task: Task, outcome: object, now: float, outcome_bytes: int = 0
    ) -> list[Effect]:
        """The task is done, whether or not a process of it ever ran."""
        flight = self._executing.pop(task)
        self._drop(task)
        self._vacate(flight)
        completed = [
            self._operations.complete(name, outcome, now, outcome_bytes)
            for name in flight.operations
        ]
        return [*map(Notify, completed), *self._fill_slots(now)]

    def tick(self, now: float) -> list[Effect]:
        """Do what has become due."""
        effects: list[Effect] = []
        for operation in self._operations.abandoned(now):
            effects += self._end(operation, Reason.ABANDONED, now)
        late = [task for task, flight in self._executing.items() if flight.deadline <= now]
        effects += [self._kill(task, Reason.TIMEOUT) for task in late]
        self._operations.forget_old(now)
        return effects

    def next_event(self, now: float) -> float | None:
        """When :meth:`tick` is due, at the earliest now; None = not before another step."""
        deadlines = (flight.deadline for flight in self._executing.values())
        due = min(self._operations.next_event(), min(deadlines, default=inf))
        return None if due == inf else max(due, now)

    def drain(self, now: float) -> list[Effect]:
        """Take nothing new and end what waits; what executes goes on."""
        self._draining = True
        queued = [o for o in self._operations.all() if o.stage == Stage.QUEUED]
        return [effect for o in queued for effect in self._end(o, Reason.SHUTDOWN, now)]

    def _admit(self, task: Task | None, job_bytes: int) -> None:
        if self._draining:
            raise Draining
        if task in self._executing or self._may_start():
            return
        is_too_large = task is None and self._job_bytes + job_bytes > self._max_job_bytes
        if len(self._queue) >= self._max_queued or is_too_large:
            raise QueueFull(
                f"{len(self._queue)} actions wait already, and no more may, or none this large; "
                "try again later, or ask for fewer at once"
            )

    def _fill_slots(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        while self._queue and self._may_start():
            first = self._queue.first()
            self._queue.serve(first.invocation)
            effects += self._start(first.task, first.invocation, now)
        return effects

    def _may_start(self) -> bool:
        in_flight = len(self._executing)
        return self._occupied < self._slots and in_flight < self._slots + self._max_storing

    def _vacate(self, flight: _Flight) -> None:
        if flight.has_slot:
            flight.has_slot, flight.deadline = False, inf
            self._occupied -= 1
            self._queue.release(flight.served)

    def _start(self, task: Task, served: str, now: float) -> list[Effect]:
        flight = self._executing[task] = self._flights[task]
        flight.has_slot = True
        self._occupied += 1
        flight.started_at, flight.served = now, served
        for name in flight.operations:
            self._queue.remove(self._operations.get(name))
        started = [self._operations.start(name, now) for name in flight.operations]
        return [Start(task), *map(Notify, started)]

    def _end(self, operation: Operation, reason: Reason, now: float) -> list[Effect]:
        """End one operation; its task ends with its last."""
        task, flight = operation.task, self._flights[operation.task]
        del flight.operations[operation.name]
        effects: list[Effect] = [Notify(self._operations.complete(operation.name, reason, now))]
        if operation.stage == Stage.QUEUED:
            self._queue.remove(operation)
            if not flight.operations:
                self._drop(task)
        elif not flight.operations and not flight.is_killed:
            effects.append(self._kill(task, reason))
        return effects

    def _kill(self, task: Task, why: Reason) -> Kill:
        flight = self._executing[task]
        flight.is_killed, flight.deadline = True, inf
        self._unshare(task)
        return Kill(task, why)

    def _drop(self, task: Task) -> None:
        del self._flights[task]
        self._job_bytes -= task.job_bytes
        self._unshare(task)

    def _unshare(self, task: Task) -> None:
        if self._shared.get(task.key) is task:
            del self._shared[task.key]

    def check_invariants(self) -> None:
        """Raises AssertionError when a promise of this class is broken."""
        self._operations.check_invariants()
        occupied = [flight for flight in self._executing.values() if flight.has_slot]
        assert self._occupied == len(occupied) <= self._slots
        assert len(self._executing) <= self._slots + self._max_storing
        assert not self._queue or not self._may_start(), "a slot is idle"
        live = [o for o in self._operations.all() if o.stage != Stage.COMPLETED]
        assert sum(len(flight.operations) for flight in self._flights.values()) == len(live)
        for operation in live:
            assert operation.name in self._flights[operation.task].operations
            executes = operation.task in self._executing
            assert executes == (operation.stage == Stage.EXECUTING)
        for task, flight in self._flights.items():
            assert (flight.started_at is not None) == (task in self._executing)
            assert flight.operations or flight.is_killed, "a task nobody wants goes on"
        assert self._executing.keys() <= self._flights.keys()
        assert self._job_bytes == sum(task.job_bytes for task in self._flights)
        for key, task in self._shared.items():
            assert task.key == key
            assert not self._flights[task].is_killed
        served = Counter(flight.served for flight in occupied)
        self._queue.check_invariants([o for o in live if o.stage == Stage.QUEUED], served)


@dataclass
class _Flight:
    """A task in flight.

    ``operations``: the live ones, in the order they came. ``served``: the invocation whose turn it
    was when the task started. ``has_slot``: from then until its process ended.
    """

    operations: dict[str, None] = field(default_factory=dict)
    started_at: float | None = None
    served: str = ""
    has_slot: bool = False
    deadline: float = inf
    is_killed: bool = False
