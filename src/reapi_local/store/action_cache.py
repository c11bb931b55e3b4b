"""The contract of action caches: action results by instance and action."""

from __future__ import annotations

from typing import Protocol

from reapi_local.context import Context
from reapi_local.protocol.digest import Digest
from reapi_local.protocol.lookup import Lookup, StoredResult


class ActionCache(Protocol):
    """The action results of the context's instance. A miss is a value that has a reason.

    An action is identified by its digest function and hash; the size in its digest has no effect.
    """

    async def get(self, context: Context, action: Digest) -> Lookup:
        """The entry, which is now leased to the invocation, or the reason of the miss."""

    async def put(self, context: Context, action: Digest, stored: StoredResult) -> None:
        """Add or replace the entry and lease it to the invocation; durable when this returns.

        Raises:
            StorageFull: no space.
        """

    async def remove(self, context: Context, action: Digest, stored: StoredResult) -> bool:
        """Delete the entry if it is still ``stored``; returns whether it was.

        Comparing and deleting is one step, so an entry that was written meanwhile stays.
        """
