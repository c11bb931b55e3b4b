"""Ports that are closed to actions: those of the server itself, whatever token an action has found.

Actions with a private network can't reach them anyway. For those with the host's network, the
sandboxes restrict the processes that run actions.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final

from reapi_local.execute.sandbox.linux.landlock import ruleset_that_closes
from reapi_local.threads import in_thread

_NOTE: Final = (
    "actions with the host's network can connect to the ports of this server, and those of an "
    "ordinary user's server can take them: only Linux 6.7 and later with Landlock can prevent that"
)


class ClosedPorts:
    """What a process needs to close these TCP ports to itself and to all that it starts."""

    def __init__(self, ports: Iterable[int]) -> None:
        self._ports = frozenset(ports)
        self.rulesets: tuple[int, ...] = ()
        """Descriptors for ``landlock.restrict_self``: one, or none where nothing can be closed."""

    async def prepare(self) -> None:
        """Make the ruleset, if there are ports to close and this kernel can close them."""
        if self._ports:
            try:
                self.rulesets = (await in_thread(ruleset_that_closes, self._ports),)
            except OSError:
                self.rulesets = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence if they stay open."""
        return (_NOTE,) if self._ports and not self.rulesets else ()

    def close(self) -> None:
        """Close the descriptors. Idempotent."""
        for ruleset in self.rulesets:
            os.close(ruleset)
        self.rulesets = ()
