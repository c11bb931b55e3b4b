"""The one error of the launcher: what happened, why, and what to do next."""

from __future__ import annotations


class LauncherError(Exception):
    """Something that the user has to know and can act on.

    Each part is one sentence or a few, for a person: `what` happened, `why`, and the `remedy`.
    """

    def __init__(self, what: str, why: str, remedy: str) -> None:
        super().__init__(what, why, remedy)
        self.what = what
        self.why = why
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what} {self.why} {self.remedy}"
