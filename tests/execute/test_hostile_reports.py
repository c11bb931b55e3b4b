"""What comes out of a sandbox that an action has got hold of: the sandbox failed, nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reapi_local.execute.sandbox.interface import SandboxError, StepError
from reapi_local.execute.sandbox.slot import slot_process
from reapi_local.execute.sandbox.slot.slot_messages import SlotRequest, SlotSettings
from reapi_local.execute.sandbox.slot.slot_process import SlotProcess
from reapi_local.execute.sandbox.supervised.action_dirs import ActionDir
from reapi_local.execute.sandbox.supervised.supervisor_messages import SupervisedProcess
from reapi_local.execute.sandbox.supervised.supervisor_process import supervise

USAGE = {
    "stopped": False,
    "started_ns": 1,
    "ended_ns": 2,
    "user_seconds": 0.5,
    "system_seconds": 0,
    "max_rss_bytes": 1,
}
SLOT_REPORT = {**USAGE, "exit_code": 0, "problem": "", "limits_exceeded": [], "discard": False}
SUPERVISOR_REPORT: dict[str, Any] = {
    **USAGE,
    "wait_status": 0,
    "start_failure": None,
    "write_errors": [],
}
NO_OBJECTS = [b"5", b"null", b"[]", b'"failed"', b"{", b"\xff", b"[" * 20_000, b""]
WRONG_USAGE: list[dict[str, Any]] = [
    {"started_ns": 2**63},
    {"started_ns": -1},
    {"ended_ns": "now"},
    {"ended_ns": 1.5},
    {"user_seconds": float("nan")},
    {"system_seconds": float("inf")},
    {"max_rss_bytes": True},
    {"stopped": None},
]
WRONG_IN_SLOTS: list[dict[str, Any]] = [
    {"exit_code": 2**31},
    {"exit_code": -1},
    {"problem": "\ud800"},
    {"problem": None},
    {"limits_exceeded": ["unheard_of"]},
    {"limits_exceeded": [[]]},
    {"discard": 0},
    {"failed": ["x"]},
    {"failed": "x", "errno": "y"},
]
WRONG_IN_SUPERVISORS: list[dict[str, Any]] = [
    {"wait_status": 2**31},
    {"wait_status": 0x7F},
    {"start_failure": ["exec"]},
    {"start_failure": ["exec", 2**40]},
    {"write_errors": ["x"]},
    {"write_errors": 1},
]
_SLOT = """
import os, socket, sys
server = socket.socket(fileno=int(sys.argv[2]))
server.recv(1 << 16)
server.send(b'i{"ready": true, "notes": []}')
server.recv(1 << 16)
"""
_DESCRIPTORS = """
file = os.memfd_create('x')
root = os.open('/', os.O_RDONLY)
pipe = os.pipe()[0]
"""


def without_each(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [{name: report[name] for name in report if name != left} for left in report]


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def answer_of_slot(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    """Ask a slot for an action; it answers with what this program does."""
    program = f"{_SLOT}{_DESCRIPTORS}{answer}\nserver.recv(1)"
    monkeypatch.setattr(slot_process, "_PROGRAM", program)
    slot = SlotProcess()
    try:
        await slot.set_up(cast("SlotSettings", {}), ())
        result = await slot.run(cast("SlotRequest", {}), asyncio.Event())
        for descriptor in (result.root_fd, result.stdout_fd, result.stderr_fd):
            os.close(descriptor)
    finally:
        await slot.end()


def sending(body: bytes, descriptors: str = "[root, file, file]") -> str:
    return f"socket.send_fds(server, [b'i', {body!r}], {descriptors})"


async def test_a_report_of_a_slot_that_is_right_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    await answer_of_slot(monkeypatch, sending(json.dumps(SLOT_REPORT).encode()))


@pytest.mark.parametrize(
    "answer",
    [
        *map(sending, NO_OBJECTS),
        *(
            sending(json.dumps({**SLOT_REPORT, **wrong}).encode())
            for wrong in (*WRONG_USAGE, *WRONG_IN_SLOTS)
        ),
        *(sending(json.dumps(report).encode()) for report in without_each(SLOT_REPORT)),
        *(
            sending(json.dumps(SLOT_REPORT).encode(), descriptors)
            for descriptors in ("[]", "[root]", "[root, file, pipe]", "[file] * 3", "[root] * 7")
        ),
        "socket.send_fds(server, [b'm'], [pipe])",
        "socket.send_fds(server, [b'm'], [root])",
        "os.ftruncate(file, 1 << 40); socket.send_fds(server, [b'm'], [file])",
    ],
)
async def test_any_other_report_of_a_slot_is_a_failure_of_the_sandbox(
    monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    before = open_descriptors()
    with pytest.raises(StepError):
        await answer_of_slot(monkeypatch, answer)
    assert open_descriptors() <= before


async def answer_of_supervisor(answer: bytes) -> None:
    program = (
        "import os, sys; os.read(int(sys.argv[1]), 1 << 16); "
        f"answer = {answer!r}\nwhile answer: answer = answer[os.write(int(sys.argv[1]), answer):]"
    )
    log = os.memfd_create("log")
    action_dir = SimpleNamespace(
        stdout_write_fd=log, stderr_write_fd=log, stderr_log_fd=log, log_tail=lambda: ""
    )
    process = cast("SupervisedProcess", {"uid": None, "rulesets": [], "terminals": []})
    command = [sys.executable, "-I", "-S", "-c", program]
    try:
        await supervise(command, process, cast("ActionDir", action_dir), asyncio.Event())
    finally:
        os.close(log)


async def test_a_report_of_a_supervisor_that_is_right_is_taken() -> None:
    await answer_of_supervisor(json.dumps(SUPERVISOR_REPORT).encode())


@pytest.mark.parametrize(
    "answer",
    [
        *NO_OBJECTS,
        *(
            json.dumps({**SUPERVISOR_REPORT, **wrong}).encode()
            for wrong in (*WRONG_USAGE, *WRONG_IN_SUPERVISORS)
        ),
        *(json.dumps(report).encode() for report in without_each(SUPERVISOR_REPORT)),
    ],
)
async def test_any_other_report_of_a_supervisor_is_a_failure_of_the_sandbox(answer: bytes) -> None:
    before = open_descriptors()
    with pytest.raises(SandboxError):
        await answer_of_supervisor(answer)
    assert open_descriptors() <= before
