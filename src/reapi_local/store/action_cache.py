"""The contract of action caches: results by instance and action."""

from __future__ import annotations

from typing import Protocol

from reapi_local.context import Context
from reapi_local.protocol.digest import Digest
from reapi_local.protocol.lookup import Lookup, StoredResult


class ActionCache(Protocol):
    """Action results of the context's instance. A miss is a value, with its reason."""

    async def get(self, context: Context, action: Digest) -> Lookup:
        """The entry, now leased to the invocation, or why there is none."""

    async def put(self, context: Context, action: Digest, stored: StoredResult) -> None:
        """Keep or replace the entry, leased to the invocation; durable when this returns.

        Raises:
            StorageFull: no room.
        """

    async def remove(self, context: Context, action: Digest, stored: StoredResult) -> bool:
        """Forget the entry if it still is ``stored``; whether it was.

        One that was written meanwhile stays: compare and delete, in one step.
        """
