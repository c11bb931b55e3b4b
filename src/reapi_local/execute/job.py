"""One action, ready to be queued: what it asks for, and not yet where it runs."""

from __future__ import annotations

from dataclasses import dataclass

from reapi_local.context import Context
from reapi_local.execute.clients.profile import ClientProfile
from reapi_local.protocol.command import ParsedAction, ParsedCommand
from reapi_local.protocol.digest import Digest


@dataclass(frozen=True)
class Job:
    """An action with all that has to be known before it gets its turn.

    ``context``: of the call that asked for it first. Output paths are relative to
    ``output_directory``, which is relative to the input root; ``directories`` are those that
    outputs go into. ``timeout`` in seconds. ``size_bytes``: of the Action and the Command, encoded.
    ``queued_at`` in seconds since the epoch.
    """

    context: Context
    digest: Digest
    action: ParsedAction
    command: ParsedCommand
    profile: ClientProfile
    output_directory: str
    directories: tuple[str, ...]
    timeout: float
    size_bytes: int
    queued_at: float
