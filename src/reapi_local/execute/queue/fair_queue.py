"""Fair queueing across invocations. No I/O."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from reapi_local.execute.queue.operation_table import Operation

_Rank = tuple[int, int, int, str]
"""Priority of waiting operations; tasks with a slot, last turn and name of their invocation."""

_STARTS_PER_UNPRIORITIZED_START: Final = 8
"""One of this many starts ignores priority."""


@dataclass
class _Invocation:
    """A client's invocation that has waiting operations or tasks with a slot.

    ``last_turn``: a number that grows with time: when the invocation arrived, or when a task of it
    last got or freed a slot. ``executing``: how many tasks were started for it and still have their
    slot. ``waiting``: its operations in order of arrival, by priority.
    """

    last_turn: int
    executing: int = 0
    waiting: dict[int, OrderedDict[str, Operation]] = field(default_factory=dict)


class FairQueue:
    """Waiting operations, and which of them is next. These rules decide, in this order:

    1. The most urgent priority, which is the lowest number, goes first. In one of every
       ``_STARTS_PER_UNPRIORITIZED_START`` starts, priority decides only within an invocation, so
       low-priority work can't starve.
    2. The invocation with the fewest occupied slots goes first, so invocations of all sizes get
       equal shares of the slots.
    3. The invocation whose last turn is longest ago goes first. It has a turn when one of its tasks
       gets or frees a slot. An invocation that arrives counts as if it had just had a turn.
       Otherwise clients that send each action in a new invocation would always be ahead of others.
    4. Within an invocation and a priority, operations start in order of arrival.
    """

    def __init__(self) -> None:
        self._invocations: dict[str, _Invocation] = {}
        # One rank for each invocation and priority with waiting operations, in ascending order.
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
        """Record that a task got a slot for this invocation."""
        self._starts += 1
        self._change_executing(invocation, +1)

    def release(self, invocation: str) -> None:
        """Record that a task of this invocation freed its slot."""
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
