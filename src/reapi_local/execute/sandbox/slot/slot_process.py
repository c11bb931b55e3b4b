"""A slot as the server sees it: a child process and a socket to talk to it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, NamedTuple

from reapi_local.execute.sandbox.interface import ActionLimits, StepError
from reapi_local.execute.sandbox.report_checks import (
    MAX_REPORT_BYTES,
    USAGE_CHECKS,
    Check,
    are_names_of,
    check_report,
    is_count,
    is_flag,
    is_text,
)
from reapi_local.execute.sandbox.slot.slot_messages import (
    SlotReport,
    SlotRequest,
    SlotSettings,
    receive_message,
    send_message,
)

_log = logging.getLogger(__name__)

_SOURCES: Final = str(Path(__file__).resolve().parents[4])
_PROGRAM: Final = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from reapi_local.execute.sandbox.slot.slot_main import main; main()"
)
_REPORT_CHECKS: Final[Mapping[str, Check]] = {
    **USAGE_CHECKS,
    "exit_code": lambda value: is_count(value) and value < 256,
    "problem": is_text,
    "limits_exceeded": are_names_of([field.name for field in fields(ActionLimits)]),
    "discard": is_flag,
}
_FAILURE_CHECKS: Final[Mapping[str, Check]] = {
    "failed": is_text,
    "errno": is_count,
    "problem": is_text,
}
_STOP_TIMEOUT_SECONDS: Final = 10.0
_EXIT_TIMEOUT_SECONDS: Final = 5.0


class SlotResult(NamedTuple):
    """A report and its descriptors, which the receiver has to close."""

    report: SlotReport
    root_fd: int
    stdout_fd: int
    stderr_fd: int


class SlotProcess:
    """One slot process, from its start to its end. It runs one action at a time.

    The thread that starts it must outlive it: the kernel kills the slot when that thread ends.

    Raises:
        OSError: the process can't be started.
    """

    def __init__(self) -> None:
        self._socket, slot_socket = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        self._stderr_log = os.fdopen(os.memfd_create("stderr-log"), "rb+", buffering=0)
        command = (sys.executable, "-I", "-S", "-c", _PROGRAM, _SOURCES, str(slot_socket.fileno()))
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr_log,
                pass_fds=[slot_socket.fileno()],
                start_new_session=True,
                cwd="/",
            )
        except OSError:
            self._socket.close()
            self._stderr_log.close()
            raise
        finally:
            slot_socket.close()
        self.pid = self._process.pid
        self.notes: list[str] = []

    async def set_up(self, settings: SlotSettings, rulesets: Iterable[int]) -> None:
        """Prepare the slot for its first action.

        ``rulesets``: descriptors for ``landlock.restrict_self``.

        Raises:
            StepError: a step of the preparation failed.
        """
        self._send(settings, rulesets)
        self.notes = (await self._receive())[0]["notes"]

    async def run(
        self, request: SlotRequest, stop: asyncio.Event, terminal: int | None = None
    ) -> SlotResult:
        """Run an action until it ends. If this doesn't return a result, end the slot.

        Raises:
            StepError: the slot failed, not the action.
        """
        self._send(request, () if terminal is None else (terminal,))
        stopper = asyncio.create_task(self._stop_action_when_set(stop))
        try:
            report, descriptors = await self._receive()
        finally:
            stopper.cancel()
        try:
            check_report(report, _REPORT_CHECKS)
            root_fd, stdout_fd, stderr_fd = _checked_descriptors(descriptors)
        except ValueError as error:
            for descriptor in descriptors:
                os.close(descriptor)
            raise StepError("protocol", 0, f"a malformed report: {error}") from None
        return SlotResult(report, root_fd, stdout_fd, stderr_fd)

    def release(self) -> None:
        """Let the slot delete what the action left and prepare for the next action.

        Raises:
            StepError: the slot is gone.
        """
        self._send({"release": True, "answer": False})

    async def renew(self) -> None:
        """The same, and wait until the slot has done it.

        Raises:
            StepError: the slot failed.
        """
        self._send({"release": True, "answer": True})
        await self._receive()

    def is_alive(self) -> bool:
        """False if the idle slot has exited or sent an error."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    async def end(self) -> None:
        """Kill all processes in the slot and wait until they are gone. Call it once; no errors."""
        # The slot sees the end of the connection, and so does a pending `_receive` on this side.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        pidfd = os.pidfd_open(self.pid)
        try:
            async with asyncio.timeout(_EXIT_TIMEOUT_SECONDS):
                await _wait_readable(pidfd)
        except TimeoutError:
            _log.warning("slot %d doesn't exit by itself; killing it", self.pid)
            self._process.terminate()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EXIT_TIMEOUT_SECONDS):
                    await _wait_readable(pidfd)
        finally:
            os.close(pidfd)
            self._socket.close()
            self._stderr_log.close()
            self._process.poll()

    async def _stop_action_when_set(self, stop: asyncio.Event) -> None:
        await stop.wait()
        with contextlib.suppress(StepError):  # `run`, which waits for the report, raises it, too
            self._send({"stop": True})
        await asyncio.sleep(_STOP_TIMEOUT_SECONDS)
        _log.warning("slot %d doesn't stop its action; killing it", self.pid)
        self._process.terminate()

    def _send(self, message: object, descriptors: Iterable[int] = ()) -> None:
        try:
            send_message(self._socket, message, descriptors)
        except OSError:
            raise self._exited_error() from None

    async def _receive(self) -> tuple[Any, list[int]]:
        while True:
            try:
                message, descriptors = receive_message(self._socket, MAX_REPORT_BYTES)
            except BlockingIOError:
                await _wait_readable(self._socket.fileno())
                continue
            except ValueError as error:
                raise StepError("protocol", 0, str(error)) from None
            except (EOFError, OSError):
                raise self._exited_error() from None
            if "failed" not in message:
                return message, descriptors
            for descriptor in descriptors:
                os.close(descriptor)
            try:
                check_report(message, _FAILURE_CHECKS)
            except ValueError as error:
                raise StepError("protocol", 0, f"a malformed failure: {error}") from None
            raise StepError(message["failed"], message["errno"], message["problem"])

    def _exited_error(self) -> StepError:
        log = b""
        if not self._stderr_log.closed:
            self._stderr_log.seek(0)
            log = self._stderr_log.read()
        last_line = log.decode(errors="replace").strip().rpartition("\n")[2]
        return StepError("process", 0, f"the slot has exited: {last_line or 'it was killed'}")


def _checked_descriptors(descriptors: list[int]) -> list[int]:
    """Those of input root, stdout and stderr; raises ValueError if they are something else."""
    kinds = [stat.S_IFMT(os.fstat(descriptor).st_mode) for descriptor in descriptors]
    if kinds != [stat.S_IFDIR, stat.S_IFREG, stat.S_IFREG]:
        raise ValueError("its descriptors aren't those of a directory and two files")
    return descriptors


async def _wait_readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
