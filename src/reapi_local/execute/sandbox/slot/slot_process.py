"""A slot as the server has it: a child process, and the conversation with it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

from reapi_local.execute.sandbox.interface import SandboxError
from reapi_local.execute.sandbox.slot import slot_messages as wire
from reapi_local.execute.sandbox.slot.slot_messages import Order, Report, Settings

_log = logging.getLogger(__name__)

_SOURCES: Final = str(Path(__file__).resolve().parents[4])
_PROGRAM: Final = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from reapi_local.execute.sandbox.slot.slot_main import main; main()"
)
_STOP_SECONDS: Final = 10.0
_END_SECONDS: Final = 5.0


class SlotFailed(SandboxError):
    """The slot says what it couldn't do: ``step``, and the ``errno`` if any."""

    def __init__(self, step: str, errno: int, problem: str) -> None:
        super().__init__(f"the sandbox failed ({step}): {problem}")
        self.step = step
        self.errno = errno
        self.problem = problem


class Result(NamedTuple):
    """Descriptors are the receiver's to close."""

    report: Report
    root_fd: int
    stdout_fd: int
    stderr_fd: int


class SlotProcess:
    """One slot, from its start to its end; runs one action at a time.

    The thread that starts it has to stay: when it ends, the kernel kills the slot.

    Raises:
        OSError: no process can be started.
    """

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        self._complaints = os.fdopen(os.memfd_create("complaints"), "rb+", buffering=0)
        command = (sys.executable, "-I", "-S", "-c", _PROGRAM, _SOURCES, str(theirs.fileno()))
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._complaints,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                cwd="/",
            )
        except OSError:
            self._socket.close()
            self._complaints.close()
            raise
        finally:
            theirs.close()
        self.pid = self._process.pid
        self.notes: list[str] = []

    async def set_up(self, settings: Settings) -> None:
        """Make it ready for an action.

        Raises:
            SlotFailed: it can't be.
        """
        self._send(settings)
        self.notes = (await self._receive())[0]["notes"]

    async def run(self, order: Order, stop: asyncio.Event) -> Result:
        """Run an action to its end. After anything but a result the slot has to be ended.

        Raises:
            SlotFailed: the slot, not the action, failed.
        """
        self._send(order)
        stopper = asyncio.create_task(self._stop_when(stop))
        try:
            report, descriptors = await self._receive()
        finally:
            stopper.cancel()
        try:
            root_fd, stdout_fd, stderr_fd = descriptors
        except ValueError:
            for descriptor in descriptors:
                os.close(descriptor)
            raise SlotFailed("protocol", 0, "it sent a strange report") from None
        return Result(report, root_fd, stdout_fd, stderr_fd)

    def release(self) -> None:
        """What the action left may go; the slot prepares for the next.

        Raises:
            SlotFailed: it is gone.
        """
        self._send({"release": True})

    def is_alive(self) -> bool:
        """False once the idle slot has ended or complained, by itself."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    async def end(self) -> None:
        """Kill all that runs in it and wait for that; once. Does not fail."""
        # Both sides see the end of the conversation: the slot, and whoever waits for a report.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        exited = os.pidfd_open(self.pid)
        try:
            async with asyncio.timeout(_END_SECONDS):
                await _readable(exited)
        except TimeoutError:
            _log.warning("slot %d doesn't end by itself; killing it", self.pid)
            self._process.terminate()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_END_SECONDS):
                    await _readable(exited)
        finally:
            os.close(exited)
            self._socket.close()
            self._complaints.close()
            self._process.poll()

    async def _stop_when(self, stop: asyncio.Event) -> None:
        await stop.wait()
        with contextlib.suppress(SlotFailed):  # whoever waits for the report hears of it
            self._send({"stop": True})
        await asyncio.sleep(_STOP_SECONDS)
        _log.warning("slot %d doesn't stop its action; killing it", self.pid)
        self._process.terminate()

    def _send(self, message: object) -> None:
        try:
            wire.send(self._socket, message)
        except OSError:
            raise self._gone() from None

    async def _receive(self) -> tuple[Any, list[int]]:
        while True:
            try:
                message, descriptors = wire.receive(self._socket)
            except BlockingIOError:
                await _readable(self._socket.fileno())
                continue
            except (EOFError, OSError, ValueError):
                raise self._gone() from None
            if "failed" in message:
                raise SlotFailed(message["failed"], message["errno"], message["problem"])
            return message, descriptors

    def _gone(self) -> SlotFailed:
        said = b""
        if not self._complaints.closed:
            self._complaints.seek(0)
            said = self._complaints.read()
        last_line = said.decode(errors="replace").strip().rpartition("\n")[2]
        return SlotFailed("process", 0, f"the slot has ended: {last_line or 'it was killed'}")


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
