"""One action, ready to be queued: what it asks for, but not where it runs."""

from __future__ import annotations

from dataclasses import dataclass

from reapi_local.context import Context
from reapi_local.execute.clients.profile import ClientProfile
from reapi_local.protocol.command import ParsedAction, ParsedCommand
from reapi_local.protocol.digest import Digest


@dataclass(frozen=True)
class Job:
    """An action with everything that the server knows before its turn.

    ``context``: that of the first call that asked for it. ``directories``: the directories that
    outputs go into, relative to the input root. ``timeout``: in seconds. ``size_bytes``: the size
    of the encoded Action and Command. ``queued_at``: seconds since the epoch.
    """

    context: Context
    digest: Digest
    action: ParsedAction
    command: ParsedCommand
    profile: ClientProfile
    directories: tuple[str, ...]
    timeout: float
    size_bytes: int
    queued_at: float
