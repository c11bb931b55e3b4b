"""The scheduler against a simple model, through any sequence of steps.

The model looks at every operation there is whenever it has to choose one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import count
from typing import cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from reapi_local.errors import Draining, OperationNotFound, QueueFull
from reapi_local.execute.job import Job
from reapi_local.execute.queue.operation_table import EndReason, Stage, Task
from reapi_local.execute.queue.scheduler import Effect, Kill, Notify, Scheduler, Start
from reapi_local.protocol.digest import digest_of
from reapi_local.protocol.lookup import ActionKey

GRACE, KEEP = 10.0, 60.0
MAX_QUEUED, MAX_JOB_BYTES, MAX_KEPT = 12, 60, 5
KEYS = [ActionKey("", digest_of(b"%d" % n)) for n in range(5)]
EXAMPLES, STEPS = 5 * settings.default.max_examples, 40

picks = st.integers(0, 1_000_000)


@dataclass(frozen=True)
class Ask:
    """What a client asks for."""

    key: ActionKey
    run: str
    priority: int
    timeout: float
    mergeable: bool
    watched: bool
    job_bytes: int


asks = st.builds(
    Ask,
    key=st.sampled_from(KEYS),
    run=st.sampled_from(["", "one", "two", "three"]),
    priority=st.sampled_from([0, 0, -1, 1]),
    timeout=st.sampled_from([0.5, 5.0, 50.0]),
    mergeable=st.sampled_from([True, True, False]),
    watched=st.sampled_from([True, True, True, False]),
    job_bytes=st.sampled_from([0, 1, 10, 30]),
)


@dataclass(eq=False)
class Wanted:
    """An operation as the model knows it."""

    name: str
    task: Task
    run: str
    priority: int
    number: int
    stage: Stage = Stage.QUEUED
    outcome: object = None
    watchers: int = 0
    abandoned_at: float | None = None
    forgotten_at: float | None = None
    deleted: bool = False

    @property
    def is_live(self) -> bool:
        return self.stage != Stage.COMPLETED


@dataclass
class Running:
    """A task that executes.

    ``run``: for whom it was started. ``has_slot``: its process hasn't ended.
    """

    run: str
    has_slot: bool = True
    deadline: float | None = None
    killed: EndReason | None = None


def ask_of(task: Task) -> Ask | None:
    """What the task was submitted with in place of a job, which the scheduler doesn't look into."""
    return cast("Ask | None", task.job)


class Schedules(RuleBasedStateMachine):
    """Steps of clients, of processes, and of time. The driver is one that does as it is told."""

    @initialize(slots=st.integers(1, 4), max_storing=st.integers(0, 3))
    def open(self, slots: int, max_storing: int) -> None:
        self.slots, self.max_storing = slots, max_storing
        self.now = 0.0
        self.submitted = self.starts = 0
        self.turns = count()
        self.wanted: dict[str, Wanted] = {}
        self.ended: list[Wanted] = []
        self.running: dict[Task, Running] = {}
        self.turn: dict[str, int] = {}
        self.draining = False
        self.scheduler = Scheduler(
            slots,
            max_storing=max_storing,
            max_queued=MAX_QUEUED,
            max_job_bytes=MAX_JOB_BYTES,
            unwatched_grace=GRACE,
            keep_seconds=KEEP,
            max_kept=MAX_KEPT,
        )

    # The model.

    def live(self, task: Task | None = None) -> list[Wanted]:
        return [w for w in self.wanted.values() if w.is_live and task in (None, w.task)]

    def queued(self) -> list[Wanted]:
        return [w for w in self.wanted.values() if w.stage == Stage.QUEUED]

    def job_bytes(self) -> int:
        tasks = {w.task for w in self.live()} | self.running.keys()
        return sum(ask.job_bytes for task in tasks if (ask := ask_of(task)) is not None)

    def in_slots(self) -> list[Running]:
        return [running for running in self.running.values() if running.has_slot]

    def is_full(self) -> bool:
        in_flight = len(self.running)
        return len(self.in_slots()) == self.slots or in_flight == self.slots + self.max_storing

    def served(self, run: str) -> None:
        self.turn[run] = next(self.turns)

    def forget_idle_runs(self) -> None:
        active = {w.run for w in self.queued()} | {r.run for r in self.in_slots()}
        self.turn = {run: turn for run, turn in self.turn.items() if run in active}

    def next_in_line(self) -> Wanted:
        """By priority, then fairly between runs, then in order; each eighth fairly first."""
        executing = Counter(running.run for running in self.in_slots())

        def place(w: Wanted) -> tuple[int, ...]:
            fairly = (executing[w.run], self.turn[w.run])
            priority = (w.priority,)
            first = fairly + priority if self.starts % 8 == 7 else priority + fairly
            return (*first, w.number)

        return min(self.queued(), key=place)

    def complete(self, wanted: Wanted, outcome: object) -> None:
        wanted.stage, wanted.outcome = Stage.COMPLETED, outcome
        wanted.abandoned_at, wanted.forgotten_at = None, self.now + KEEP
        self.ended.append(wanted)
        if wanted.deleted:
            self.forget(wanted)
        elif len(self.ended) > MAX_KEPT:
            self.forget(self.ended[0])

    def forget(self, wanted: Wanted) -> None:
        self.ended.remove(wanted)
        del self.wanted[wanted.name]

    def perform(self, effects: list[Effect], *, outcome: object = None) -> None:
        """Check each effect against the model, and let it happen there."""
        for effect in effects:
            match effect:
                case Start(task):
                    self.start(task)
                case Kill(task, why):
                    self.kill(task, why)
                case Notify(operation):
                    wanted = self.wanted[operation.name]
                    assert operation.stage > wanted.stage, "no stage comes twice or goes back"
                    if operation.stage == Stage.COMPLETED:
                        assert operation.outcome == outcome
                        self.complete(wanted, outcome)
                    wanted.stage = operation.stage
        self.forget_idle_runs()

    def start(self, task: Task) -> None:
        first = self.next_in_line()
        assert task is first.task
        assert task not in self.running
        assert not self.is_full()
        self.running[task] = Running(first.run)
        self.starts += 1
        self.served(first.run)

    def kill(self, task: Task, why: EndReason) -> None:
        running = self.running[task]
        assert running.killed is None, "killed once"
        running.killed = why
        if why == EndReason.TIMEOUT:
            assert running.deadline is not None
            assert running.deadline <= self.now
        else:
            assert not self.live(task), "killed for a client while another waits for it"

    # Steps of clients.

    @rule(asked=st.lists(asks, min_size=1, max_size=6))
    def submit(self, asked: list[Ask]) -> None:
        for ask in asked:
            self.submitted += 1
            name = f"operation {self.submitted}"
            shared = self.shareable(ask.key) if ask.mergeable else None
            try:
                effects = self.scheduler.submit(
                    name,
                    ask.key,
                    self.now,
                    invocation=ask.run,
                    priority=ask.priority,
                    timeout=ask.timeout,
                    mergeable=ask.mergeable,
                    job=cast("Job", ask),
                    job_bytes=ask.job_bytes,
                )
            except Draining:
                assert self.draining
            except QueueFull:
                assert shared not in self.running
                assert self.is_full()
                is_too_large = not shared and self.job_bytes() + ask.job_bytes > MAX_JOB_BYTES
                assert is_too_large or len(self.queued()) == MAX_QUEUED
            else:
                self.accepted(name, ask, shared, effects)

    def accepted(self, name: str, ask: Ask, shared: Task | None, effects: list[Effect]) -> None:
        assert not self.draining
        task = self.scheduler.lookup(name).task
        assert task is shared if shared else ask_of(task) is ask
        wanted = Wanted(name, task, ask.run, ask.priority, self.submitted)
        wanted.abandoned_at = self.now + GRACE
        self.wanted[name] = wanted
        if task not in self.running:
            self.turn.setdefault(ask.run, next(self.turns))
        self.perform(effects)
        if ask.watched:
            self.watch(name)

    def shareable(self, key: ActionKey) -> Task | None:
        tasks = {
            w.task
            for w in self.live()
            if w.task.key == key
            and (ask := ask_of(w.task)) is not None
            and ask.mergeable
            and (w.task not in self.running or self.running[w.task].killed is None)
        }
        assert len(tasks) <= 1, "an action is in flight twice"
        return next(iter(tasks), None)

    def pick(self, number: int) -> str:
        """Some operation, or a name that none has."""
        names = [*self.wanted, "nobody's"]
        return names[number % len(names)]

    def is_unknown(self, name: str) -> bool:
        if name in self.wanted:
            return False
        with pytest.raises(OperationNotFound):
            self.scheduler.lookup(name)
        return True

    @rule(number=picks)
    def cancel(self, number: int) -> None:
        name = self.pick(number)
        if self.is_unknown(name):
            with pytest.raises(OperationNotFound):
                self.scheduler.cancel(name, self.now)
            return
        was_live, wanted = self.wanted[name].is_live, self.wanted[name]
        effects = self.scheduler.cancel(name, self.now)
        self.perform(effects, outcome=EndReason.CANCELLED)
        assert bool(effects) == was_live
        assert not wanted.is_live

    @rule(number=picks)
    def watch_one(self, number: int) -> None:
        name = self.pick(number)
        if self.is_unknown(name):
            with pytest.raises(OperationNotFound):
                self.scheduler.watch(name)
            return
        self.watch(name)

    def watch(self, name: str) -> None:
        wanted = self.wanted[name]
        assert self.scheduler.watch(name).stage == wanted.stage
        wanted.watchers += 1
        wanted.abandoned_at = None

    @rule(number=picks)
    def unwatch(self, number: int) -> None:
        watched = [w for w in self.wanted.values() if w.watchers]
        if not watched:
            return
        wanted = watched[number % len(watched)]
        self.scheduler.unwatch(wanted.name, self.now)
        wanted.watchers -= 1
        if wanted.is_live and not wanted.watchers:
            wanted.abandoned_at = self.now + GRACE

    @rule(number=picks)
    def delete(self, number: int) -> None:
        name = self.pick(number)
        if self.is_unknown(name):
            with pytest.raises(OperationNotFound):
                self.scheduler.forget(name)
            return
        self.scheduler.forget(name)
        self.wanted[name].deleted = True
        if not self.wanted[name].is_live:
            self.forget(self.wanted[name])

    # Steps of processes.

    @precondition(lambda self: self.running)
    @rule(number=picks)
    def a_process_starts(self, number: int) -> None:
        task = list(self.running)[number % len(self.running)]
        self.scheduler.process_started(task, self.now)
        if self.running[task].killed is None:
            self.running[task].deadline = self.now + task.timeout

    @precondition(lambda self: self.running)
    @rule(number=picks)
    def a_process_ends(self, number: int) -> None:
        task = list(self.running)[number % len(self.running)]
        self.vacate(self.running[task])
        self.perform(self.scheduler.process_ended(task, self.now))

    def vacate(self, running: Running) -> None:
        if running.has_slot:
            running.has_slot, running.deadline = False, None
            self.served(running.run)

    @precondition(lambda self: self.running)
    @rule(number=picks)
    def a_task_finishes(self, number: int) -> None:
        self.finish(list(self.running)[number % len(self.running)])

    def finish(self, task: Task) -> None:
        self.vacate(self.running.pop(task))
        waiting = self.live(task)
        outcome = object()
        self.perform(self.scheduler.task_completed(task, outcome, self.now), outcome=outcome)
        assert all(wanted.outcome is outcome for wanted in waiting)

    # Steps of time and of the operator.

    @rule(seconds=st.sampled_from([0.0, 0.2, 3.0, GRACE, KEEP]), noticed=st.booleans())
    def time_passes(self, seconds: float, noticed: bool) -> None:
        """A driver may be late."""
        self.now += seconds
        if noticed:
            self.tick()

    def tick(self) -> None:
        late = [w for w in self.live() if w.abandoned_at is not None and w.abandoned_at <= self.now]
        old = [w for w in self.ended if w.forgotten_at is not None and w.forgotten_at <= self.now]
        over = [
            running
            for running in self.running.values()
            if running.deadline is not None and running.deadline <= self.now
        ]
        self.perform(self.scheduler.tick(self.now), outcome=EndReason.ABANDONED)
        assert all(wanted.outcome == EndReason.ABANDONED for wanted in late)
        assert all(running.killed is not None for running in over)
        for wanted in old:
            if wanted in self.ended:
                self.forget(wanted)
        due = self.scheduler.next_event(self.now)
        assert due is None or due > self.now, "what was due is done"

    @rule()
    def time_passes_until_something_is_due(self) -> None:
        due = self.scheduler.next_event(self.now)
        assert due == self.next_due()
        if due is not None:
            self.now = due
        self.tick()

    def next_due(self) -> float | None:
        moments = [w.abandoned_at for w in self.live()]
        moments += [w.forgotten_at for w in self.ended]
        moments += [r.deadline for r in self.running.values() if r.killed is None]
        known = [moment for moment in moments if moment is not None]
        return max(min(known), self.now) if known else None

    @precondition(lambda self: self.submitted > 25)
    @rule()
    def drain(self) -> None:
        waiting = self.queued()
        self.draining = True
        self.perform(self.scheduler.drain(self.now), outcome=EndReason.SHUTDOWN)
        assert all(wanted.outcome == EndReason.SHUTDOWN for wanted in waiting)

    # What always holds.

    @invariant()
    def the_scheduler_agrees_with_the_model(self) -> None:
        self.scheduler.check_invariants()
        known = {o.name: (o.stage, o.outcome, o.key) for o in self.scheduler.operations()}
        assert known == {w.name: (w.stage, w.outcome, w.task.key) for w in self.wanted.values()}
        assert all(self.scheduler.lookup(w.name).task is w.task for w in self.live())
        executing = {w.task for w in self.live() if w.stage == Stage.EXECUTING}
        assert executing <= self.running.keys()
        assert all(self.running[task].killed for task in self.running.keys() - executing)

    @invariant()
    def no_slot_is_idle_while_something_waits(self) -> None:
        assert self.is_full() or not self.queued()

    def teardown(self) -> None:
        """Every operation comes to its end when the processes do."""
        if not hasattr(self, "scheduler"):
            return
        while self.running:
            self.finish(next(iter(self.running)))
        assert not self.live()
        self.now += KEEP
        self.tick()
        assert self.scheduler.operations() == []


@pytest.mark.slow
def test_any_schedule_keeps_to_the_rules() -> None:
    run_state_machine_as_test(
        Schedules,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            suppress_health_check=list(HealthCheck),
        ),
    )
