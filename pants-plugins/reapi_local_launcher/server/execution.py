"""What a server tells of running processes itself, beside keeping their results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reapi_local_launcher.errors import LauncherError
from reapi_local_launcher.settings import Settings, Words

SANDBOXES = ("auto", "slots", "bubblewrap", "process-group")
"""What can be asked for, the strongest first; `auto` is the strongest that works, not the last."""

_TOO_OLD = "The running server is of a release that only keeps results."


@dataclass(frozen=True)
class Execution:
    """Whether and how a server runs processes.

    `slots`: how many at once; `executing`: how many now. `caches`: where they find the directories
    that they share, empty for nowhere. `hermetic`: they have no network. `notes` are sentences for
    whoever uses it; `reasons` say why it isn't offered, or why its sandbox isn't a stronger one,
    with the cure.
    """

    offered: bool = False
    sandbox: str = ""
    slots: int = 0
    executing: int = 0
    caches: str = ""
    hermetic: bool = False
    notes: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """It in a few words."""
        if not self.offered:
            return "none"
        confined = "no sandbox" if self.sandbox == "process-group" else f"{self.sandbox} sandbox"
        return f"{confined}, {self.slots} at once" + (", no network" if self.hermetic else "")


def execution_in(status: Mapping[str, object]) -> Execution:
    """The part of /v1/status about execution; a server without that part offers none."""
    raw = status.get("execution")
    if not isinstance(raw, dict):
        return Execution(reasons=(_TOO_OLD,))
    slots, executing = raw.get("slots"), raw.get("executing")
    return Execution(
        offered=raw.get("offered") is True,
        sandbox=str(raw.get("sandbox") or ""),
        slots=slots if isinstance(slots, int) else 0,
        executing=executing if isinstance(executing, int) else 0,
        caches=str(raw.get("caches") or ""),
        hermetic=raw.get("hermetic") is True,
        notes=_sentences(raw.get("notes")),
        reasons=_sentences(raw.get("reasons")),
    )


def must_be_offered(execution: Execution, words: Words) -> None:
    """Raises LauncherError with the server's reasons if it runs no processes."""
    if execution.offered:
        return
    raise LauncherError(
        "The server doesn't run processes.",
        " ".join(execution.reasons) or "It doesn't say why; its log may.",
        f"Once that is cured, start it afresh: `{words.down}`, then `{words.up}`. Caching works "
        "as it is.",
    )


def must_be_as_asked(execution: Execution, settings: Settings) -> None:
    """Raises LauncherError if the server keeps processes apart in another way than asked for."""
    otherwise = _isolated_otherwise(execution, settings)
    if not otherwise:
        return
    words = settings.words
    raise LauncherError(
        "The running server doesn't isolate processes as its settings now say.",
        f"It {' and '.join(otherwise)}: it was started with other settings.",
        f"Start it afresh: `{words.down}`, then `{words.up}`.",
    )


def user_notes(execution: Execution, settings: Settings) -> tuple[str, ...]:
    """What the user of a server that runs processes should know, such as what it wasn't asked for.

    A default asks for nothing.
    """
    if not execution.offered:
        return ()
    otherwise = _isolated_otherwise(execution, settings)
    if settings.slots not in (0, execution.slots):
        otherwise.insert(0, f"runs {execution.slots} processes at once")
    change = f"to change: `{settings.words.down}`, then `{settings.words.up}`."
    kept = (f"The running server {does}; {change}" for does in otherwise)
    return (*execution.notes, *execution.reasons, *kept)


def _isolated_otherwise(execution: Execution, settings: Settings) -> list[str]:
    """What the server does instead of what was asked for, as "gives …"."""
    found = []
    if settings.sandbox not in ("auto", execution.sandbox):
        found.append(f"uses the sandbox {execution.sandbox}")
    if settings.hermetic and not execution.hermetic:
        found.append("gives processes the network")
    return found


def _sentences(raw: object) -> tuple[str, ...]:
    return tuple(map(str, raw)) if isinstance(raw, list) else ()
