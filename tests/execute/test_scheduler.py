from __future__ import annotations

from collections import Counter
from math import inf
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reapi_local.errors import Code, Draining, OperationNotFound, QueueFull
from reapi_local.execute.job import Job
from reapi_local.execute.queue.operation_table import EndReason, Operation, Stage, Task
from reapi_local.execute.queue.scheduler import Effect, Kill, Notify, Scheduler, Start
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import digest_of
from reapi_local.protocol.lookup import ActionKey

GRACE, KEEP = 10.0, 600.0
HOW = cast("Job", "how")
"""The scheduler doesn't look into jobs."""


def key(action: str, instance: str = "") -> ActionKey:
    return ActionKey(instance, digest_of(action.encode()))


def scheduler(
    slots: int = 1,
    *,
    max_queued: int = 100,
    max_job_bytes: int = 1000,
    max_kept: int = 100,
    max_kept_bytes: int = 1000,
) -> Scheduler:
    return Scheduler(
        slots,
        max_queued=max_queued,
        max_job_bytes=max_job_bytes,
        unwatched_grace=GRACE,
        keep_seconds=KEEP,
        max_kept=max_kept,
        max_kept_bytes=max_kept_bytes,
    )


def submit(
    scheduler: Scheduler,
    name: str,
    now: float = 0.0,
    *,
    action: str = "",
    run: str = "",
    priority: int = 0,
    timeout: float = inf,
    mergeable: bool = True,
    job_bytes: int = 0,
) -> Task:
    """An operation that is watched, by default for an action of its own; returns its task."""
    scheduler.submit(
        name,
        key(action or name),
        now,
        invocation=run,
        priority=priority,
        timeout=timeout,
        mergeable=mergeable,
        job_bytes=job_bytes,
    )
    return scheduler.watch(name).task


def started(effects: list[Effect]) -> list[Task]:
    return [effect.task for effect in effects if isinstance(effect, Start)]


def killed(effects: list[Effect]) -> list[tuple[Task, EndReason]]:
    return [(effect.task, effect.why) for effect in effects if isinstance(effect, Kill)]


def told(effects: list[Effect]) -> list[tuple[str, Stage, object]]:
    notices = [effect.operation for effect in effects if isinstance(effect, Notify)]
    return [(operation.name, operation.stage, operation.outcome) for operation in notices]


def order_of_starts(scheduler: Scheduler, first: Task) -> list[Task]:
    """What starts, with one slot, when each task ends in its turn."""
    order = [first]
    for task in order:
        order += started(scheduler.task_completed(task, "done", 0.0))
    return order


# Slots and stages


def test_an_action_starts_at_once_when_a_slot_is_free() -> None:
    machine = scheduler()
    effects = machine.submit("a", key("a"), 5.0, invocation="r", priority=3, timeout=7.0, job=HOW)
    task = machine.lookup("a").task
    operation = Operation("a", task, "r", 3, 5.0, Stage.EXECUTING, 5.0)
    assert effects == [Start(task), Notify(operation)]
    assert (task.key, task.timeout, task.job) == (key("a"), 7.0, HOW)
    assert machine.lookup("a") == operation
    assert operation.key == key("a")


def test_no_more_actions_execute_than_there_are_slots() -> None:
    machine = scheduler(slots=2)
    for name in "abcd":
        submit(machine, name)
    stages = [operation.stage for operation in machine.operations()]
    assert stages == [Stage.EXECUTING, Stage.EXECUTING, Stage.QUEUED, Stage.QUEUED]


def test_a_finished_task_completes_its_operation_and_makes_room_for_the_next() -> None:
    machine = scheduler()
    first, second = submit(machine, "a"), submit(machine, "b", 1.0)
    effects = machine.task_completed(first, "outcome", 4.0)
    assert told(effects) == [("a", Stage.COMPLETED, "outcome"), ("b", Stage.EXECUTING, None)]
    assert started(effects) == [second]
    assert machine.lookup("b").started_at == 4.0


def test_the_stages_are_those_of_the_protocol() -> None:
    numbers = re_pb2.ExecutionStage.Value
    assert {stage: numbers.Value(stage.name) for stage in Stage} == {s: s.value for s in Stage}


def test_a_name_is_used_once() -> None:
    machine = scheduler()
    submit(machine, "a")
    with pytest.raises(ValueError, match="'a'"):
        submit(machine, "a", action="another")
    machine.check_invariants()


# Sharing


def test_equal_actions_in_flight_share_one_execution() -> None:
    machine = scheduler()
    task = submit(machine, "a", action="same")
    assert submit(machine, "b", 1.0, action="same") is task
    assert machine.lookup("b").stage == Stage.EXECUTING
    assert machine.lookup("b").started_at == 0.0
    assert told(machine.task_completed(task, "done", 2.0)) == [
        ("a", Stage.COMPLETED, "done"),
        ("b", Stage.COMPLETED, "done"),
    ]


def test_equal_actions_that_wait_start_together() -> None:
    machine = scheduler()
    busy = submit(machine, "busy")
    task = submit(machine, "a", action="same")
    submit(machine, "b", action="same")
    effects = machine.task_completed(busy, "done", 1.0)
    assert started(effects) == [task]
    assert told(effects)[1:] == [("a", Stage.EXECUTING, None), ("b", Stage.EXECUTING, None)]


@pytest.mark.parametrize(("first", "second"), [(False, True), (True, False), (False, False)])
def test_an_action_that_must_not_be_merged_shares_with_none(first: bool, second: bool) -> None:
    machine = scheduler(slots=2)
    task = submit(machine, "a", action="same", mergeable=first)
    assert submit(machine, "b", action="same", mergeable=second) is not task


def test_equal_actions_of_different_instances_are_different() -> None:
    machine = scheduler(slots=2)
    machine.submit("a", key("same", "one"), 0.0)
    assert started(machine.submit("b", key("same", "two"), 0.0))


def test_an_action_that_has_ended_is_executed_again() -> None:
    machine = scheduler()
    task = submit(machine, "a", action="same")
    machine.task_completed(task, "done", 1.0)
    assert submit(machine, "b", action="same") is not task


def test_a_task_that_is_being_killed_is_not_joined() -> None:
    machine = scheduler()
    dying = submit(machine, "a", action="same")
    machine.cancel("a", 1.0)
    task = submit(machine, "b", 1.0, action="same")
    assert task is not dying
    assert started(machine.task_completed(dying, "killed", 2.0)) == [task]
    assert submit(machine, "c", 3.0, action="same") is task


# Who is next


def test_one_run_is_served_in_the_order_it_came() -> None:
    machine = scheduler()
    tasks = [submit(machine, name) for name in "dacb"]
    assert order_of_starts(machine, tasks[0]) == tasks


def test_the_most_urgent_goes_first() -> None:
    machine = scheduler()
    busy = submit(machine, "busy")
    tasks = {
        priority: submit(machine, f"p{priority}", priority=priority) for priority in (0, 5, -5)
    }
    assert order_of_starts(machine, busy) == [busy, tasks[-5], tasks[0], tasks[5]]


def test_endless_urgent_actions_keep_a_calm_one_waiting_for_a_while_only() -> None:
    machine = scheduler()
    task = submit(machine, "busy", run="urgent", priority=-1000)
    calm = [submit(machine, f"calm{n}", run="calm", priority=1000) for n in range(2)]
    order: list[Task] = []
    for n in range(30):
        submit(machine, f"urgent{n}", run=f"urgent{n}", priority=-1000)
        (task,) = started(machine.task_completed(task, "done", 0.0))
        order.append(task)
    assert [order.index(task) for task in calm] == [6, 14]


def test_a_shared_task_is_as_urgent_as_the_most_urgent_of_its_operations() -> None:
    machine = scheduler()
    busy = submit(machine, "busy")
    other = submit(machine, "other", priority=1)
    shared = submit(machine, "calm", action="shared", priority=2)
    submit(machine, "urgent", action="shared", priority=0)
    assert order_of_starts(machine, busy) == [busy, shared, other]


def test_an_operation_that_is_cancelled_takes_its_urgency_with_it() -> None:
    machine = scheduler()
    busy = submit(machine, "busy")
    other = submit(machine, "other", priority=1)
    shared = submit(machine, "calm", action="shared", priority=2)
    submit(machine, "urgent", action="shared", priority=0)
    machine.cancel("urgent", 0.0)
    assert order_of_starts(machine, busy) == [busy, other, shared]


def test_a_huge_build_does_not_hold_up_another() -> None:
    machine = scheduler(slots=4)
    huge = [submit(machine, f"huge{n}", run="huge") for n in range(50)]
    small = [submit(machine, f"small{n}", run="small") for n in range(3)]
    order = [
        task for task in huge[:4] for task in started(machine.task_completed(task, "done", 1.0))
    ]
    assert order == [small[0], small[1], huge[4], huge[5]], "each has half of the slots"


def test_the_run_served_longest_ago_goes_first_among_equals() -> None:
    machine = scheduler()
    busy = submit(machine, "busy", run="a")
    tasks = {run: [submit(machine, f"{run}{n}", run=run) for n in range(2)] for run in "abc"}
    turns = [tasks[run][n] for n in range(2) for run in "bca"]
    assert order_of_starts(machine, busy) == [busy, *turns]


def test_operations_without_a_run_count_as_those_of_one() -> None:
    machine = scheduler()
    tasks = [submit(machine, f"anonymous{n}") for n in range(3)]
    own = submit(machine, "own", run="run")
    assert order_of_starts(machine, tasks[0]) == [tasks[0], own, *tasks[1:]]


def test_new_runs_of_one_action_each_keep_nobody_waiting() -> None:
    machine = scheduler()
    task = submit(machine, "busy", run="busy")
    patient = [submit(machine, f"patient{n}", run="patient") for n in range(5)]
    order: list[Task] = []
    for n in range(50):
        submit(machine, f"new{n}", run=f"new{n}")
        (task,) = started(machine.task_completed(task, "done", 0.0))
        order.append(task)
    assert [task for task in order if task in patient] == patient


@settings(max_examples=300)
@given(
    slots=st.integers(1, 8),
    sizes=st.lists(st.integers(1, 12), min_size=2, max_size=5),
    data=st.data(),
)
def test_no_run_gets_two_slots_more_than_another_that_waits(
    slots: int, sizes: list[int], data: st.DataObject
) -> None:
    machine = scheduler(slots)
    runs: dict[Task, str] = {}
    executing: list[Task] = []

    def take(effects: list[Effect]) -> None:
        waiting = {o.invocation for o in machine.operations() if o.stage == Stage.QUEUED}
        for task in started(effects):
            executing.append(task)
            held = Counter(runs[task] for task in executing)
            assert held[runs[task]] <= min(held[run] for run in waiting | {runs[task]}) + 1

    submissions = [f"{run}.{n}" for run, size in enumerate(sizes) for n in range(size)]
    submissions = data.draw(st.permutations(submissions))
    while submissions or executing:
        if submissions and (not executing or data.draw(st.booleans())):
            name = submissions.pop()
            effects = machine.submit(name, key(name), 0.0, invocation=name.partition(".")[0])
            runs[machine.lookup(name).task] = name.partition(".")[0]
        else:
            task = executing.pop(data.draw(st.integers(0, len(executing) - 1)))
            effects = machine.task_completed(task, "done", 0.0)
        take(effects)
    assert all(o.stage == Stage.COMPLETED for o in machine.operations())


# A full queue


def test_a_full_queue_refuses_what_would_have_to_wait() -> None:
    machine = scheduler(max_queued=1)
    submit(machine, "executes", action="same")
    submit(machine, "waits")
    with pytest.raises(QueueFull) as refusal:
        submit(machine, "refused")
    assert refusal.value.code == Code.UNAVAILABLE
    with pytest.raises(OperationNotFound):
        machine.lookup("refused")
    submit(machine, "joins", action="same")
    assert machine.lookup("joins").stage == Stage.EXECUTING


def test_no_queue_is_no_hindrance_while_a_slot_is_free() -> None:
    machine = scheduler(max_queued=0)
    submit(machine, "a")
    with pytest.raises(QueueFull):
        submit(machine, "b")


def test_large_jobs_are_refused_while_others_fill_the_room() -> None:
    machine = scheduler(max_job_bytes=10)
    first = submit(machine, "executes", job_bytes=6)
    second = submit(machine, "waits", action="same", job_bytes=4)
    with pytest.raises(QueueFull):
        submit(machine, "refused", job_bytes=1)
    submit(machine, "joins", action="same", job_bytes=9)
    assert started(machine.task_completed(first, "done", 0.0)) == [second]
    submit(machine, "fits now", job_bytes=6)
    machine.check_invariants()


def test_a_job_of_any_size_gets_a_free_slot() -> None:
    machine = scheduler(max_job_bytes=10)
    submit(machine, "a", job_bytes=11)
    assert machine.lookup("a").stage == Stage.EXECUTING


# Timeouts


def test_a_task_is_killed_once_when_its_time_is_up() -> None:
    machine = scheduler()
    task = submit(machine, "a", timeout=5.0)
    machine.process_started(task, 3.0)
    assert machine.next_event(3.0) == 8.0
    assert machine.tick(7.9) == []
    assert machine.tick(8.0) == [Kill(task, EndReason.TIMEOUT)]
    assert machine.tick(100.0) == []
    assert machine.next_event(100.0) is None
    assert told(machine.task_completed(task, "timed out", 101.0)) == [
        ("a", Stage.COMPLETED, "timed out")
    ]


def test_time_before_the_process_runs_does_not_count() -> None:
    machine = scheduler()
    task = submit(machine, "a", timeout=5.0)
    assert machine.next_event(0.0) is None
    assert machine.tick(1000.0) == []
    machine.process_started(task, 1000.0)
    assert machine.next_event(1000.0) == 1005.0


def test_the_time_counts_anew_when_the_process_is_run_again() -> None:
    machine = scheduler()
    task = submit(machine, "a", timeout=5.0)
    machine.process_started(task, 0.0)
    machine.process_started(task, 4.0)
    assert machine.tick(8.9) == []
    assert killed(machine.tick(9.0)) == [(task, EndReason.TIMEOUT)]


def test_a_task_that_is_being_killed_has_no_timeout_any_more() -> None:
    machine = scheduler()
    task = submit(machine, "a", timeout=5.0)
    assert killed(machine.cancel("a", 1.0)) == [(task, EndReason.CANCELLED)]
    machine.process_started(task, 2.0)
    assert machine.tick(50.0) == []


def test_a_task_that_timed_out_is_not_killed_again_for_its_clients() -> None:
    machine = scheduler()
    task = submit(machine, "a", timeout=5.0)
    machine.process_started(task, 0.0)
    machine.tick(5.0)
    assert machine.cancel("a", 6.0) == [Notify(machine.lookup("a"))]


def test_what_is_overdue_is_due_now() -> None:
    machine = scheduler()
    machine.process_started(submit(machine, "a", timeout=5.0), 0.0)
    assert machine.next_event(9.0) == 9.0


# Cancelling


def test_a_cancelled_action_is_killed_and_keeps_its_slot_until_it_has_ended() -> None:
    machine = scheduler()
    task, waiting = submit(machine, "a"), submit(machine, "b")
    effects = machine.cancel("a", 1.0)
    assert told(effects) == [("a", Stage.COMPLETED, EndReason.CANCELLED)]
    assert killed(effects) == [(task, EndReason.CANCELLED)]
    assert machine.lookup("b").stage == Stage.QUEUED
    assert machine.task_completed(task, "killed", 2.0)[0] == Start(waiting)
    assert machine.lookup("a").outcome == EndReason.CANCELLED


def test_a_cancelled_action_that_waits_never_starts() -> None:
    machine = scheduler()
    busy = submit(machine, "busy")
    submit(machine, "a")
    assert told(machine.cancel("a", 1.0)) == [("a", Stage.COMPLETED, EndReason.CANCELLED)]
    assert started(machine.task_completed(busy, "done", 2.0)) == []


def test_a_shared_execution_is_killed_only_when_its_last_operation_has_gone() -> None:
    machine = scheduler()
    task = submit(machine, "a", action="same")
    submit(machine, "b", action="same")
    assert killed(machine.cancel("a", 1.0)) == []
    assert killed(machine.cancel("b", 2.0)) == [(task, EndReason.CANCELLED)]


def test_a_shared_execution_that_waits_stays_for_who_is_left() -> None:
    machine = scheduler()
    busy = submit(machine, "busy")
    task = submit(machine, "a", action="same")
    submit(machine, "b", action="same")
    machine.cancel("a", 1.0)
    effects = machine.task_completed(busy, "done", 2.0)
    assert started(effects) == [task]
    assert told(effects)[1:] == [("b", Stage.EXECUTING, None)]


def test_cancelling_what_is_completed_does_nothing() -> None:
    machine = scheduler()
    machine.task_completed(submit(machine, "a"), "done", 1.0)
    assert machine.cancel("a", 2.0) == []
    assert machine.lookup("a").outcome == "done"


def test_an_unknown_operation_is_not_found() -> None:
    machine = scheduler()
    with pytest.raises(OperationNotFound, match="'x'"):
        machine.cancel("x", 0.0)
    with pytest.raises(OperationNotFound):
        machine.lookup("x")
    with pytest.raises(OperationNotFound):
        machine.watch("x")
    with pytest.raises(OperationNotFound):
        machine.forget("x")
    assert OperationNotFound.code == Code.NOT_FOUND


# Watchers


def test_an_operation_is_abandoned_a_grace_period_after_its_last_watcher_has_gone() -> None:
    machine = scheduler()
    task = submit(machine, "a")
    machine.watch("a")
    machine.unwatch("a", 1.0)
    assert machine.tick(100.0) == []
    machine.unwatch("a", 100.0)
    assert machine.next_event(100.0) == 100.0 + GRACE
    assert machine.tick(99.9 + GRACE) == []
    effects = machine.tick(100.0 + GRACE)
    assert told(effects) == [("a", Stage.COMPLETED, EndReason.ABANDONED)]
    assert killed(effects) == [(task, EndReason.ABANDONED)]


def test_a_watcher_that_comes_back_in_time_saves_the_operation() -> None:
    machine = scheduler()
    submit(machine, "a")
    machine.unwatch("a", 0.0)
    assert machine.watch("a").stage == Stage.EXECUTING
    assert machine.tick(100.0) == []


def test_an_operation_nobody_ever_watched_is_abandoned() -> None:
    machine = scheduler()
    machine.submit("a", key("a"), 0.0)
    assert told(machine.tick(GRACE)) == [("a", Stage.COMPLETED, EndReason.ABANDONED)]


def test_a_shared_execution_survives_an_abandoned_operation() -> None:
    machine = scheduler()
    task = submit(machine, "a", action="same")
    submit(machine, "b", action="same")
    machine.unwatch("a", 0.0)
    assert told(machine.tick(GRACE)) == [("a", Stage.COMPLETED, EndReason.ABANDONED)]
    assert told(machine.task_completed(task, "done", 20.0)) == [("b", Stage.COMPLETED, "done")]


def test_streams_may_close_after_the_operation_is_completed_or_forgotten() -> None:
    machine = scheduler()
    machine.task_completed(submit(machine, "a"), "done", 0.0)
    machine.unwatch("a", 1.0)
    machine.forget("a")
    machine.unwatch("a", 2.0)
    assert machine.operations() == []


# What is remembered


def test_a_completed_operation_is_remembered_for_a_while() -> None:
    machine = scheduler()
    machine.task_completed(submit(machine, "a"), "done", 3.0)
    assert machine.next_event(3.0) == 3.0 + KEEP
    assert machine.tick(2.9 + KEEP) == []
    assert machine.watch("a").outcome == "done"
    assert machine.tick(3.0 + KEEP) == []
    assert machine.operations() == []
    assert machine.next_event(1000.0) is None


def test_the_oldest_are_forgotten_when_many_are_remembered() -> None:
    machine = scheduler(max_kept=2)
    for name in "abc":
        machine.task_completed(submit(machine, name), "done", 0.0)
    assert [operation.name for operation in machine.operations()] == ["b", "c"]


def test_the_oldest_are_forgotten_when_outcomes_are_large() -> None:
    machine = scheduler(max_kept_bytes=100)
    for name, size in (("a", 40), ("b", 40), ("c", 40), ("d", 60), ("e", 0)):
        machine.task_completed(submit(machine, name), "done", 0.0, size)
        machine.check_invariants()
    assert [operation.name for operation in machine.operations()] == ["c", "d", "e"]
    machine.task_completed(submit(machine, "f"), "done", 0.0, 1000)
    assert [operation.name for operation in machine.operations()] == ["f"]


def test_what_an_operation_needed_to_be_carried_out_isn_t_remembered() -> None:
    machine = scheduler()
    effects = machine.submit("a", key("a"), 0.0, job=HOW)
    machine.submit("b", key("b"), 0.0, job=HOW)
    machine.cancel("b", 1.0)
    (task,) = started(effects)
    machine.task_completed(task, "done", 1.0)
    assert [operation.task.job for operation in machine.operations()] == [None, None]


def test_an_operation_deleted_in_flight_goes_on_and_is_forgotten_at_its_end() -> None:
    machine = scheduler()
    task = submit(machine, "a")
    machine.forget("a")
    assert machine.lookup("a").stage == Stage.EXECUTING
    assert told(machine.task_completed(task, "done", 1.0)) == [("a", Stage.COMPLETED, "done")]
    with pytest.raises(OperationNotFound):
        machine.lookup("a")


def test_a_forgotten_name_can_be_used_again() -> None:
    machine = scheduler()
    submit(machine, "a")
    machine.forget("a")
    machine.cancel("a", 0.0)
    submit(machine, "a", action="another")
    machine.check_invariants()
    assert machine.lookup("a").stage == Stage.QUEUED


# Stopping


def test_draining_ends_what_waits_and_lets_go_on_what_executes() -> None:
    machine = scheduler()
    task = submit(machine, "a")
    submit(machine, "b")
    assert told(machine.drain(1.0)) == [("b", Stage.COMPLETED, EndReason.SHUTDOWN)]
    assert told(machine.task_completed(task, "done", 2.0)) == [("a", Stage.COMPLETED, "done")]


def test_a_draining_scheduler_takes_nothing_new() -> None:
    machine = scheduler()
    submit(machine, "a", action="same")
    machine.drain(1.0)
    with pytest.raises(Draining):
        submit(machine, "b", action="same")
