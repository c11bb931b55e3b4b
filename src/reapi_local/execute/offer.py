"""Whether this server executes actions: known only once a sandbox has been tried."""

from __future__ import annotations

from typing import Protocol

from reapi_local.execute.local.engine import Engine


class Offer(Protocol):
    """What services ask."""

    async def engine(self) -> Engine:
        """The engine.

        Raises:
            Unsupported: this server executes nothing; the message says why.
        """

    async def is_made(self) -> bool:
        """Whether :meth:`engine` returns one."""
