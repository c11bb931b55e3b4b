"""No test depends on the speed of the machine: none sleeps, and what one waits for has time."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FILES = sorted(TESTS.rglob("*.py"))
# What waits at most as long as it is told: by keyword, or by its last argument.
BY_KEYWORD = {
    "HTTPConnection",
    "acquire",
    "communicate",
    "create_connection",
    "get",
    "join",
    "result",
    "run",
    "urlopen",
    "wait",
    "wait_for",
}
BY_ARGUMENT = {"join", "settimeout", "timeout", "wait", "wait_for"}


def is_some_time(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float) and node.value > 0


def limits(call: ast.Call) -> Iterator[ast.expr]:
    """The arguments of a call that say how long it takes, or may take."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else None
    name = call.func.id if isinstance(call.func, ast.Name) else name
    if name in BY_KEYWORD:
        yield from (keyword.value for keyword in call.keywords if keyword.arg == "timeout")
    if name in BY_ARGUMENT or name == "sleep":
        yield from call.args[-1:]
    if name == "settings":  # of Hypothesis
        yield from (keyword.value for keyword in call.keywords if keyword.arg == "deadline")


def impatient(source: str) -> list[int]:
    """The lines that sleep, or that wait for a number of seconds of their own."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return sorted(call.lineno for call in calls if any(map(is_some_time, limits(call))))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(TESTS)))
def test_nothing_sleeps_and_what_is_waited_for_has_time(file: Path) -> None:
    found = impatient(file.read_text(encoding="utf-8"))
    assert not found, f"{file}: lines {found}: wait for an event, with PATIENCE_S if it may hang"


def test_an_impatient_line_is_found() -> None:
    assert impatient("time.sleep(0.1)\nawait asyncio.sleep(0)\nprocess.wait(30)") == [1, 3]
    assert impatient("p.communicate(timeout=60)\np.wait(timeout=PATIENCE_S)\nsettimeout(5)") == [
        1,
        3,
    ]
    assert impatient("machine.submit('a', timeout=5.0)\nqueue.get()\n'time.sleep(5)'") == []
