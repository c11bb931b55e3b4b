"""The Operations service: executions by name, without watching them.

Source: google.longrunning, service Operations, as REAPI v2 uses it.
"""

from __future__ import annotations

from typing import Final

from google.longrunning import operations_pb2
from google.protobuf.empty_pb2 import Empty

from reapi_local.access.instances import Instances
from reapi_local.errors import InvalidRequest
from reapi_local.execute.offer import Offer
from reapi_local.rpc.call import Call
from reapi_local.rpc.execution_service import operation

_COLLECTION: Final = "operations"
_PAGE: Final = 100


class OperationsService:
    """google.longrunning.Operations, without WaitOperation: WaitExecution does that."""

    def __init__(self, offer: Offer, instances: Instances) -> None:
        self._offer, self._instances = offer, instances

    async def GetOperation(
        self, request: operations_pb2.GetOperationRequest, call: Call
    ) -> operations_pb2.Operation:
        """The state of an operation; raises OperationNotFound."""
        engine = await self._offer.engine()
        return operation(engine.get(request.name))

    async def ListOperations(
        self, request: operations_pb2.ListOperationsRequest, call: Call
    ) -> operations_pb2.ListOperationsResponse:
        """The operations of an instance, oldest first, those that ended a while ago included.

        ``name`` is ``{instance}/operations``, or ``operations`` for the unnamed instance; "" lists
        all. A page token is the name of the last operation of the page before.
        """
        engine = await self._offer.engine()
        if request.filter:
            raise InvalidRequest("a filter isn't offered here; list all and choose")
        updates = engine.operations(self._instance(request.name))
        if request.page_token:
            names = [update.name for update in updates]
            if request.page_token not in names:
                raise InvalidRequest("the page token isn't one of this list, or not any more")
            updates = updates[names.index(request.page_token) + 1 :]
        size = min(request.page_size if request.page_size > 0 else _PAGE, _PAGE)
        response = operations_pb2.ListOperationsResponse(operations=map(operation, updates[:size]))
        if len(updates) > size:
            response.next_page_token = updates[size - 1].name
        return response

    async def CancelOperation(
        self, request: operations_pb2.CancelOperationRequest, call: Call
    ) -> Empty:
        """End an operation; its action goes on while others wait for it."""
        engine = await self._offer.engine()
        engine.cancel(request.name)
        return Empty()

    async def DeleteOperation(
        self, request: operations_pb2.DeleteOperationRequest, call: Call
    ) -> Empty:
        """Forget an operation, when it has ended; this doesn't cancel it."""
        engine = await self._offer.engine()
        engine.forget(request.name)
        return Empty()

    def _instance(self, name: str) -> str | None:
        if not name:
            return None
        *instance, collection = name.split("/")
        if collection != _COLLECTION:
            raise InvalidRequest(f"{name[:300]!r} isn't a list of operations; ask for …/operations")
        return self._instances.admit("/".join(instance))
