"""Choosing the sandbox: the strongest that works here, or the one that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from reapi_local.execute.sandbox.interface import Sandbox, SandboxError

_STRONGEST_FIRST: Final = ("slots", "bubblewrap")
_NONE: Final = (
    "Actions that are trusted can run in a process group, which contains nothing: set sandbox to "
    "process-group."
)


@dataclass(frozen=True)
class Chosen:
    """A sandbox that works, by its name ``level``, or None and "".

    ``reasons``: sentences that say why those before it, or all, don't work and how to cure that.
    """

    sandbox: Sandbox | None
    level: str
    reasons: tuple[str, ...]


async def choose(wanted: str, make: Mapping[str, Callable[[], Sandbox]]) -> Chosen:
    """Start the one that is wanted; auto = the strongest that works, if it contains actions.

    So auto is never the process group, which has to be asked for by its name.
    """
    reasons = []
    for level in _STRONGEST_FIRST if wanted == "auto" else (wanted,):
        sandbox = make[level]()
        try:
            await sandbox.start()
        except (SandboxError, OSError) as error:
            await sandbox.close()
            reasons.append(f"The sandbox {level} doesn't work here: {str(error).rstrip('.')}.")
        except BaseException:
            await sandbox.close()
            raise
        else:
            return Chosen(sandbox, level, tuple(reasons))
    return Chosen(None, "", (*reasons, *([_NONE] if wanted == "auto" else [])))
