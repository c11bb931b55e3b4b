"""Whose turn it is: operations that wait, in a fair order. No I/O."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from reapi_local.execute.queue.operation_table import Operation

_Rank = tuple[int, int, int, str]

_PATIENCE: Final = 8
"""One in so many starts is anybody's, however calm: nobody waits for ever for the urgent."""


@dataclass
class _Run:
    """``executing`` tasks were started for it; ``turn``: when it came, or was last served.

    ``lines``: its operations that wait, by priority, in the order they came.
    """

    turn: int
    executing: int = 0
    lines: dict[int, OrderedDict[str, Operation]] = field(default_factory=dict)


class FairQueue:
    """Operations that wait, and which of them is next.

    A run is served from the start of a task to its end, and one that comes counts as just served:
    else runs of one action each, a new one every time, would keep all others waiting.
    """

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}
        self._ranks: list[_Rank] = []  # one for each line, the next to be served first
        self._length = self._starts = 0
        self._turns = count()

    def __len__(self) -> int:
        return self._length

    def first(self) -> Operation:
        """The next to be served."""
        is_anybodys = self._starts % _PATIENCE == _PATIENCE - 1
        rank = min(self._ranks, key=_without_priority) if is_anybodys else self._ranks[0]
        priority, _, _, run = rank
        return next(iter(self._runs[run].lines[priority].values()))

    def add(self, operation: Operation) -> None:
        run = self._runs.get(operation.run)
        if run is None:
            run = self._runs[operation.run] = _Run(next(self._turns))
        line = run.lines.get(operation.priority)
        if line is None:
            line = run.lines[operation.priority] = OrderedDict()
            insort(self._ranks, self._rank(operation.run, operation.priority))
        line[operation.name] = operation
        self._length += 1

    def remove(self, operation: Operation) -> None:
        run = self._runs[operation.run]
        line = run.lines[operation.priority]
        del line[operation.name]
        self._length -= 1
        if not line:
            self._drop_rank(operation.run, operation.priority)
            del run.lines[operation.priority]
            self._forget_if_idle(operation.run)

    def serve(self, run: str) -> None:
        """A task was started for this run."""
        self._starts += 1
        self._change(run, +1)

    def release(self, run: str) -> None:
        """A task that was started for this run has ended."""
        self._change(run, -1)
        self._forget_if_idle(run)

    def _change(self, name: str, executing: int) -> None:
        run = self._runs[name]
        for priority in run.lines:
            self._drop_rank(name, priority)
        run.executing += executing
        run.turn = next(self._turns)
        for priority in run.lines:
            insort(self._ranks, self._rank(name, priority))

    def _rank(self, name: str, priority: int) -> _Rank:
        run = self._runs[name]
        return priority, run.executing, run.turn, name

    def _drop_rank(self, name: str, priority: int) -> None:
        del self._ranks[bisect_left(self._ranks, self._rank(name, priority))]

    def _forget_if_idle(self, name: str) -> None:
        run = self._runs[name]
        if not run.lines and not run.executing:
            del self._runs[name]

    def check_invariants(self, queued: list[Operation], served: Counter[str]) -> None:
        """Raises AssertionError unless it holds these, and knows for whom tasks execute."""
        lines = [line for run in self._runs.values() for line in run.lines.values()]
        held = {operation.name: operation for line in lines for operation in line.values()}
        assert held == {operation.name: operation for operation in queued}
        assert len(self) == len(held)
        assert all(lines), "a line is empty"
        assert self._ranks == sorted(
            self._rank(name, priority) for name, run in self._runs.items() for priority in run.lines
        )
        executing = {name: run.executing for name, run in self._runs.items() if run.executing}
        assert executing == served


def _without_priority(rank: _Rank) -> tuple[int, int, int]:
    priority, executing, turn, _ = rank
    return executing, turn, priority
