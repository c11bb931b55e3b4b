"""Why a server can't start."""

from __future__ import annotations


class CannotStart(Exception):
    """The server can't start; ``code`` is for programs, the message and ``remedy`` for people."""

    def __init__(self, code: str, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.code, self.remedy = code, remedy
