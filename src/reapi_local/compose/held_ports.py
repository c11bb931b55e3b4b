"""The ports of a server, which stay its own if it is killed: a small process holds them."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, TypeVar

from reapi_contract import port_holder
from reapi_contract.data_dir import HOLDER_SOCKET
from reapi_local.compose import holder_process
from reapi_local.compose.reservation import reserve

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_MAX_SOCKETS: Final = 64
_END_SECONDS: Final = 10.0


class HeldPorts:
    """The ports of the server that has the lock of the data directory.

    It takes over those that the last server left, if that was killed.
    """

    def __init__(self, data_dir: str) -> None:
        self._data_dir = data_dir
        self._last = port_holder.connect(data_dir)
        self._inherited = _received(self._last) if self._last else []
        self._kept: list[socket.socket] = []
        self._holder: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None

    def listen(self, host: str, ports: Iterable[int], listen: Callable[[int, bool], _T]) -> _T:
        """Listen on the first free one of some ports (0 = any), and keep it.

        `listen` gets the port, and whether to set SO_REUSEPORT; it raises RuntimeError if it can't
        listen there.

        Raises:
            RuntimeError: the last port can't be used either; PortTaken if another program has it.
        """
        *first, last = ports
        for port in first:
            with suppress(RuntimeError):
                return self._listen(host, port, listen)
        return self._listen(host, last, listen)

    def _listen(self, host: str, port: int, listen: Callable[[int, bool], _T]) -> _T:
        reservation = reserve(host, port, self._inherited)
        # What was inherited is kept even if it can't be used, so that nobody else can use it.
        self._kept += reservation.inherited
        try:
            with reservation.opened() as reuse_port:
                listening = listen(reservation.port, reuse_port)
        except RuntimeError:
            # Another server has found the same port and was faster. Or this kernel lets nobody
            # listen on a port that is reserved.
            reservation.close()
            return listen(port, False)
        self._kept += reservation.fresh
        return listening

    def hold(self) -> None:
        """Start the process that holds the ports; it takes the place of that of the last server."""
        if not self._kept:
            return
        try:
            self._start()
        except OSError as error:
            _log.warning("if this server is killed, another program can take its ports: %s", error)
            return
        if self._last:
            port_holder.end(self._last)
            self._last = None
        for one in self._inherited:
            if one not in self._kept:
                one.close()

    def _start(self) -> None:
        listener, inode = _listener(self._data_dir)
        ours, theirs = socket.socketpair()
        with listener, theirs:
            passed = [one.fileno() for one in (listener, theirs, *self._kept)]
            path = os.path.join(self._data_dir, HOLDER_SOCKET)
            self._connection = ours
            self._holder = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", holder_process.__file__, path, str(inode)),
                    *map(str, passed),
                ],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=passed,
            )

    def release(self) -> None:
        """Give the ports up, after a stop in good order. Waits for the process to end."""
        for connection in filter(None, (self._last, self._connection)):
            port_holder.end(connection)
        if self._holder:
            try:
                self._holder.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._holder.kill()
                self._holder.wait()
            with suppress(OSError):
                os.unlink(os.path.join(self._data_dir, HOLDER_SOCKET))
        for one in (*self._kept, *self._inherited):
            one.close()

    def abandon(self) -> None:
        """Close what a failed start has opened. The ports of the last server stay held."""
        if self._inherited:
            for one in filter(None, (self._last, self._connection, *self._kept)):
                one.close()
        else:
            self.release()


def _received(connection: socket.socket) -> list[socket.socket]:
    """The sockets that the holder of the last server sends."""
    try:
        flags = socket.MSG_CMSG_CLOEXEC
        _, descriptors, _, _ = socket.recv_fds(connection, 1, _MAX_SOCKETS, flags)
    except OSError:
        return []
    return [socket.socket(fileno=descriptor) for descriptor in descriptors]


def _listener(data_dir: str) -> tuple[socket.socket, int]:
    """A unix socket that listens in the data directory, in the place of an old one; its inode."""
    new = f"{HOLDER_SOCKET}.new"
    with suppress(FileNotFoundError):  # what a server that was killed meanwhile has left
        os.unlink(os.path.join(data_dir, new))
    directory = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(port_holder.short_path(directory, new))
        listener.listen()
        inode = os.stat(new, dir_fd=directory).st_ino
        os.rename(new, HOLDER_SOCKET, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        listener.close()
        raise
    finally:
        os.close(directory)
    return listener, inode
