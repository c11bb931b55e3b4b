"""Gives a process a terminal. Slots and supervisors load this module: standard library only."""

from __future__ import annotations

import fcntl
import os
import termios


def control_terminal(terminal: int) -> None:
    """Make the terminal standard input, output and error, and let it control this process.

    The process leads a session of its own then. To be called in a process that was just forked.
    """
    if os.getsid(0) != os.getpid():
        os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    for descriptor in range(3):
        os.dup2(terminal, descriptor)
