"""The scheduler: which action executes when, and when it has to end. A state machine without I/O.

Times are monotonic seconds and never go back from one call to the next. Methods return the effects
that their driver has to carry out, in this order.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import inf

from reapi_local.errors import Draining, QueueFull
from reapi_local.execute.job import Job
from reapi_local.execute.queue.fair_queue import FairQueue
from reapi_local.execute.queue.operation_table import (
    EndReason,
    Operation,
    OperationTable,
    Stage,
    Task,
)
from reapi_local.protocol.lookup import ActionKey


@dataclass(frozen=True)
class Start:
    """Carry the task out.

    Report :meth:`Scheduler.process_started`, :meth:`Scheduler.process_ended` if a process ended,
    and always :meth:`Scheduler.task_completed`.
    """

    task: Task


@dataclass(frozen=True)
class Kill:
    """End a task that executes. It keeps its slot until the driver reports its end."""

    task: Task
    why: EndReason


@dataclass(frozen=True)
class Notify:
    """Tell the operation's watchers its new stage. The table may have forgotten it already."""

    operation: Operation


Effect = Start | Kill | Notify


class Scheduler:
    """Executes tasks in ``slots`` slots. :class:`FairQueue` decides which operation is next.

    Equal actions share one task. It starts when the first of its operations gets its turn, and is
    killed when its last operation has ended. New operations don't join a task that is being killed.

    A task frees its slot when its process ends, before its outputs are stored. At most ``slots +
    max_storing`` tasks run or store outputs at a time.

    An operation that can't start at once is refused if ``max_queued`` operations wait already. It
    is also refused if its job would bring all jobs, waiting or executing, over ``max_job_bytes``.

    ``unwatched_grace``, ``keep_seconds``, ``max_kept`` and ``max_kept_bytes``: see
    :class:`OperationTable`.
    """

    def __init__(
        self,
        slots: int,
        *,
        max_storing: int = 2,
        max_queued: int = 100_000,
        max_job_bytes: int = 512 * 1024 * 1024,
        unwatched_grace: float = 10.0,
        keep_seconds: float = 600.0,
        max_kept: int = 10_000,
        max_kept_bytes: int = 256 * 1024 * 1024,
    ) -> None:
        self._slots, self._max_storing = slots, max_storing
        self._max_queued, self._max_job_bytes = max_queued, max_job_bytes
        self._occupied = self._job_bytes = 0
        self._operations = OperationTable(
            unwatched_grace=unwatched_grace,
            keep_seconds=keep_seconds,
            max_kept=max_kept,
            max_kept_bytes=max_kept_bytes,
        )
        self._queue = FairQueue()
        self._tasks: dict[Task, _TaskState] = {}
        self._executing: dict[Task, _TaskState] = {}
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

        ``job`` is what the driver needs to carry the task out. It isn't used if the operation joins
        a task. All operations without an invocation count as operations of the same invocation.

        Raises:
            QueueFull: the operation would have to wait, and a limit of the queue is reached.
            Draining: the server is stopping.
        """
        task = self._shared.get(key) if mergeable else None
        self._admit(task, job_bytes)
        operation = Operation(
            name, task or Task(key, timeout, job, job_bytes), invocation, priority, now
        )
        self._operations.add(operation)
        if task is None:
            self._tasks[operation.task] = _TaskState()
            self._job_bytes += job_bytes
        state = self._tasks[operation.task]
        state.operations[name] = None
        if mergeable:
            self._shared[key] = operation.task
        if state.started_at is not None:
            return [Notify(self._operations.start(name, state.started_at))]
        self._queue.add(operation)
        return self._fill_slots(now)

    def cancel(self, name: str, now: float) -> list[Effect]:
        """End an operation for its client; does nothing if the operation is completed.

        Raises:
            OperationNotFound: there is no operation of this name, or not any more.
        """
        operation = self._operations.get(name)
        if operation.stage == Stage.COMPLETED:
            return []
        return self._end(operation, EndReason.CANCELLED, now)

    def forget(self, name: str) -> None:
        """Forget an operation, at once if it is completed, else when it ends.

        Raises:
            OperationNotFound: there is no operation of this name, or not any more.
        """
        self._operations.forget(name)

    def watch(self, name: str) -> Operation:
        """A client begins to watch the operation. Returns the operation as it is now.

        Raises:
            OperationNotFound: there is no operation of this name, or not any more.
        """
        return self._operations.watch(name)

    def unwatch(self, name: str, now: float) -> None:
        """A client that called :meth:`watch` stops watching."""
        self._operations.unwatch(name, now)

    def lookup(self, name: str) -> Operation:
        """The operation as it is now.

        Raises:
            OperationNotFound: there is no operation of this name, or not any more.
        """
        return self._operations.get(name)

    def operations(self) -> list[Operation]:
        """All operations that wait, execute or are remembered, in the order they came."""
        return self._operations.all()

    def process_started(self, task: Task, now: float) -> None:
        """The task's process is about to run. Its timeout begins, again if this is a retry."""
        state = self._executing[task]
        if not state.is_killed:
            state.deadline = now + task.timeout

    def process_ended(self, task: Task, now: float) -> list[Effect]:
        """The task's process has ended; its outputs are still to be stored."""
        self._vacate(self._executing[task])
        return self._fill_slots(now)

    def task_completed(
        self, task: Task, outcome: object, now: float, outcome_bytes: int = 0
    ) -> list[Effect]:
        """The task is completed, whether or not a process of it ever ran."""
        state = self._executing.pop(task)
        self._drop(task)
        self._vacate(state)
        completed = [
            self._operations.complete(name, outcome, now, outcome_bytes)
            for name in state.operations
        ]
        return [*map(Notify, completed), *self._fill_slots(now)]

    def tick(self, now: float) -> list[Effect]:
        """Abandon, kill and forget what is due."""
        effects: list[Effect] = []
        for operation in self._operations.abandoned(now):
            effects += self._end(operation, EndReason.ABANDONED, now)
        late = [task for task, state in self._executing.items() if state.deadline <= now]
        effects += [self._kill(task, EndReason.TIMEOUT) for task in late]
        self._operations.forget_old(now)
        return effects

    def next_event(self, now: float) -> float | None:
        """When :meth:`tick` is due, ``now`` or later; None if nothing is going to be due."""
        deadlines = (state.deadline for state in self._executing.values())
        due = min(self._operations.next_event(), min(deadlines, default=inf))
        return None if due == inf else max(due, now)

    def drain(self, now: float) -> list[Effect]:
        """Refuse new operations and end all that wait. Those that execute go on."""
        self._draining = True
        queued = [o for o in self._operations.all() if o.stage == Stage.QUEUED]
        return [effect for o in queued for effect in self._end(o, EndReason.SHUTDOWN, now)]

    def _admit(self, task: Task | None, job_bytes: int) -> None:
        if self._draining:
            raise Draining
        if task in self._executing or self._may_start():
            return
        is_too_large = task is None and self._job_bytes + job_bytes > self._max_job_bytes
        if len(self._queue) >= self._max_queued or is_too_large:
            raise QueueFull(
                f"{len(self._queue)} actions wait already, and the queue has no room for this one; "
                "try again later, or execute fewer actions at once"
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

    def _vacate(self, state: _TaskState) -> None:
        if state.has_slot:
            state.has_slot, state.deadline = False, inf
            self._occupied -= 1
            self._queue.release(state.served_invocation)

    def _start(self, task: Task, invocation: str, now: float) -> list[Effect]:
        state = self._executing[task] = self._tasks[task]
        state.has_slot = True
        self._occupied += 1
        state.started_at, state.served_invocation = now, invocation
        for name in state.operations:
            self._queue.remove(self._operations.get(name))
        started = [self._operations.start(name, now) for name in state.operations]
        return [Start(task), *map(Notify, started)]

    def _end(self, operation: Operation, reason: EndReason, now: float) -> list[Effect]:
        """End one operation, and its task if no other operation shares it."""
        task, state = operation.task, self._tasks[operation.task]
        del state.operations[operation.name]
        effects: list[Effect] = [Notify(self._operations.complete(operation.name, reason, now))]
        if operation.stage == Stage.QUEUED:
            self._queue.remove(operation)
            if not state.operations:
                self._drop(task)
        elif not state.operations and not state.is_killed:
            effects.append(self._kill(task, reason))
        return effects

    def _kill(self, task: Task, why: EndReason) -> Kill:
        state = self._executing[task]
        state.is_killed, state.deadline = True, inf
        self._unshare(task)
        return Kill(task, why)

    def _drop(self, task: Task) -> None:
        del self._tasks[task]
        self._job_bytes -= task.job_bytes
        self._unshare(task)

    def _unshare(self, task: Task) -> None:
        if self._shared.get(task.key) is task:
            del self._shared[task.key]

    def check_invariants(self) -> None:
        """Raise AssertionError if an invariant of this class is broken."""
        self._operations.check_invariants()
        occupied = [state for state in self._executing.values() if state.has_slot]
        assert self._occupied == len(occupied) <= self._slots
        assert len(self._executing) <= self._slots + self._max_storing
        assert not self._queue or not self._may_start(), "a slot is idle"
        live = [o for o in self._operations.all() if o.stage != Stage.COMPLETED]
        assert sum(len(state.operations) for state in self._tasks.values()) == len(live)
        for operation in live:
            assert operation.name in self._tasks[operation.task].operations
            executes = operation.task in self._executing
            assert executes == (operation.stage == Stage.EXECUTING)
        for task, state in self._tasks.items():
            assert (state.started_at is not None) == (task in self._executing)
            assert state.operations or state.is_killed, "a task without operations goes on"
        assert self._executing.keys() <= self._tasks.keys()
        assert self._job_bytes == sum(task.job_bytes for task in self._tasks)
        for key, task in self._shared.items():
            assert task.key == key
            assert not self._tasks[task].is_killed
        served = Counter(state.served_invocation for state in occupied)
        self._queue.check_invariants([o for o in live if o.stage == Stage.QUEUED], served)


@dataclass
class _TaskState:
    """A task that waits or executes.

    ``operations``: those that haven't ended, in the order they came. ``served_invocation``: the
    invocation whose turn it was when the task started. ``has_slot``: it started, and its process
    hasn't ended.
    """

    operations: dict[str, None] = field(default_factory=dict)
    started_at: float | None = None
    served_invocation: str = ""
    has_slot: bool = False
    deadline: float = inf
    is_killed: bool = False
