"""Chooses the sandbox: the strongest one that works on this machine, or the configured one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from reapi_contract.sandbox_levels import AUTO, PROCESS_GROUP, STRONGEST_FIRST
from reapi_local.execute.sandbox.interface import Sandbox, SandboxError

_PROCESS_GROUP_HINT: Final = (
    "Trusted actions can run in a process group, which isolates nothing: set sandbox to "
    f"{PROCESS_GROUP}."
)


@dataclass(frozen=True)
class Chosen:
    """The started sandbox and its name ``level``; None and "" if no sandbox works.

    ``reasons``: one sentence for each sandbox that was tried and failed: the cause and the cure.
    """

    sandbox: Sandbox | None
    level: str
    reasons: tuple[str, ...]


async def choose(wanted: str, make: Mapping[str, Callable[[], Sandbox]]) -> Chosen:
    """Start the sandbox ``wanted``; "auto" starts the strongest one that works and isolates.

    "auto" never chooses the process group: it isolates nothing, so users must name it.
    """
    reasons = []
    for level in STRONGEST_FIRST if wanted == AUTO else (wanted,):
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
    return Chosen(None, "", (*reasons, *([_PROCESS_GROUP_HINT] if wanted == AUTO else [])))
