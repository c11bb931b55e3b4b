"""Connects the user's terminal with another one, on which a program in a sandbox runs.

The program has a terminal of its own and never the user's: on that it could write commands into
the input of the shell that comes after it (ioctl TIOCSTI).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

_CHUNK_BYTES: Final = 64 * 1024


@contextmanager
def inner_terminal(stdin: int, stdout: int) -> Iterator[int]:
    """The descriptor of a new terminal that is shown on the user's, within the block.

    The user's terminal passes each key on, Ctrl-C too. A change of its size is passed on. To be
    used on the main thread, within an event loop.
    """
    outer, inner = os.openpty()
    loop = asyncio.get_running_loop()
    before = termios.tcgetattr(stdin)
    _copy_size(stdout, inner)
    os.set_blocking(outer, False)
    loop.add_reader(stdin, _forward, stdin, outer)
    loop.add_reader(outer, _show, outer, stdout)
    loop.add_signal_handler(signal.SIGWINCH, _copy_size, stdout, inner)
    tty.setraw(stdin, termios.TCSADRAIN)  # what was typed ahead is not lost
    try:
        yield inner
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)
        loop.remove_reader(stdin)
        loop.remove_reader(outer)
        while _show(outer, stdout):
            pass
        os.close(inner)
        os.close(outer)
        termios.tcsetattr(stdin, termios.TCSADRAIN, before)


def _copy_size(source: int, target: int) -> None:
    size = fcntl.ioctl(source, termios.TIOCGWINSZ, b"\0" * 8)
    fcntl.ioctl(target, termios.TIOCSWINSZ, size)


def _forward(stdin: int, outer: int) -> None:
    data = os.read(stdin, _CHUNK_BYTES)
    if not data:  # the user's terminal is gone
        asyncio.get_running_loop().remove_reader(stdin)
        data = b"\x04"
    with suppress(BlockingIOError):  # a program that reads nothing gets no more keys
        os.write(outer, data)


def _show(outer: int, stdout: int) -> bool:
    """Show what the program wrote; False if there is nothing."""
    try:
        data = os.read(outer, _CHUNK_BYTES)
    except OSError:  # nothing is there, or no process has the terminal open any more
        return False
    while data:
        data = data[os.write(stdout, data) :]
    return True
