"""Fair queueing across invocations. No I/O."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from reapi_local.execute.queue.operation_table import Operation

_Rank = tuple[int, int, int, str]
"""Priority, executing tasks, last turn and name of an invocation. The lowest rank is next."""

_STARTS_PER_UNPRIORITIZED_START: Final = 8
"""Every 8th start ignores priority, so low-priority work can't starve."""


@dataclass
class _Invocation:
    """A client's invocation that has operations waiting or tasks executing.

    ``last_turn``: a number that grows with time: when the invocation arrived, or when a task of it
    last started or ended. ``executing``: how many tasks were started for it and have not ended.
    ``waiting``: its operations in order of arrival, by priority.
    """

    last_turn: int
    executing: int = 0
    waiting: dict[int, OrderedDict[str, Operation]] = field(default_factory=dict)


class FairQueue:
    """Waiting operations, and which of them is next.

    Among the invocations with work of the most urgent priority (the lowest number), the one with
    the fewest executing tasks is next, so invocations of all sizes get equal shares of the slots.
    Ties go to the invocation that has waited longest since its last turn.

    An invocation that arrives counts as if it had just had a turn. Otherwise clients that send each
    action in a new invocation would always be ahead of all others.
    """

    def __init__(self) -> None:
        self._invocations: dict[str, _Invocation] = {}
        # One for each invocation and priority with waiting operations; sorted, the next one first.
        self._ranks: list[_Rank] = []
        self._length = self._starts = 0
        self._turns = count()

    def __len__(self) -> int:
        return self._length

    def first(self) -> Operation:
        """The operation that is next."""
        position = self._starts % _STARTS_PER_UNPRIORITIZED_START
        if position == _STARTS_PER_UNPRIORITIZED_START - 1:
            rank = min(self._ranks, key=_without_priority)
        else:
            rank = self._ranks[0]
        priority, _, _, name = rank
        return next(iter(self._invocations[name].waiting[priority].values()))

    def add(self, operation: Operation) -> None:
        invocation = self._invocations.get(operation.invocation)
        if invocation is None:
            invocation = self._invocations[operation.invocation] = _Invocation(next(self._turns))
        waiting = invocation.waiting.get(operation.priority)
        if waiting is None:
            waiting = invocation.waiting[operation.priority] = OrderedDict()
            insort(self._ranks, self._rank(operation.invocation, operation.priority))
        waiting[operation.name] = operation
        self._length += 1

    def remove(self, operation: Operation) -> None:
        invocation = self._invocations[operation.invocation]
        waiting = invocation.waiting[operation.priority]
        del waiting[operation.name]
        self._length -= 1
        if not waiting:
            self._remove_rank(operation.invocation, operation.priority)
            del invocation.waiting[operation.priority]
            self._forget_if_idle(operation.invocation)

    def serve(self, invocation: str) -> None:
        """Count a task that was started for this invocation."""
        self._starts += 1
        self._change_executing(invocation, +1)

    def release(self, invocation: str) -> None:
        """Count off a task of this invocation that has ended."""
        self._change_executing(invocation, -1)
        self._forget_if_idle(invocation)

    def _change_executing(self, name: str, change: int) -> None:
        invocation = self._invocations[name]
        for priority in invocation.waiting:
            self._remove_rank(name, priority)
        invocation.executing += change
        invocation.last_turn = next(self._turns)
        for priority in invocation.waiting:
            insort(self._ranks, self._rank(name, priority))

    def _rank(self, name: str, priority: int) -> _Rank:
        invocation = self._invocations[name]
        return priority, invocation.executing, invocation.last_turn, name

    def _remove_rank(self, name: str, priority: int) -> None:
        del self._ranks[bisect_left(self._ranks, self._rank(name, priority))]

    def _forget_if_idle(self, name: str) -> None:
        invocation = self._invocations[name]
        if not invocation.waiting and not invocation.executing:
            del self._invocations[name]

    def check_invariants(self, queued: list[Operation], executing: Counter[str]) -> None:
        """Raise AssertionError unless ``queued`` are waiting and ``executing`` counts the tasks."""
        lines = [line for each in self._invocations.values() for line in each.waiting.values()]
        held = {operation.name: operation for line in lines for operation in line.values()}
        assert held == {operation.name: operation for operation in queued}
        assert len(self) == len(held)
        assert all(lines), "a priority has no waiting operations"
        assert self._ranks == sorted(
            self._rank(name, priority)
            for name, invocation in self._invocations.items()
            for priority in invocation.waiting
        )
        counted = {
            name: invocation.executing
            for name, invocation in self._invocations.items()
            if invocation.executing
        }
        assert counted == executing


def _without_priority(rank: _Rank) -> tuple[int, int, int]:
    """A sort key in which priority only decides between ranks of the same invocation."""
    priority, executing, last_turn, _ = rank
    return executing, last_turn, priority
