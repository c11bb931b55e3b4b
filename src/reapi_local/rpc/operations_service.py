"""The Operations service: asks for, lists, cancels and deletes operations.

Source: google.longrunning, service Operations, as REAPI v2 uses it.
"""

from __future__ import annotations

from typing import Final

from google.longrunning import operations_pb2
from google.protobuf.empty_pb2 import Empty

from reapi_local.context import Context
from reapi_local.errors import InvalidRequest
from reapi_local.execute.executor import Executor
from reapi_local.protocol.operation_name import instance_of_collection
from reapi_local.rpc.execution_service import operation

_PAGE_SIZE: Final = 100


class OperationsService:
    """google.longrunning.Operations without WaitOperation, because WaitExecution does that."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def GetOperation(
        self, request: operations_pb2.GetOperationRequest, context: Context
    ) -> operations_pb2.Operation:
        """The state of an operation; raises OperationNotFound."""
        return operation(await self._executor.get(context, request.name))

    async def ListOperations(
        self, request: operations_pb2.ListOperationsRequest, context: Context
    ) -> operations_pb2.ListOperationsResponse:
        """The operations of an instance, oldest first, including those that ended recently.

        ``name`` is ``{instance}/operations`` or ``{instance}``, or ``operations`` for the unnamed
        instance; "" lists all instances. A page token is the name of the last operation on the
        previous page.
        """
        if request.filter:
            raise InvalidRequest(
                "filters aren't offered here; list all operations and filter them yourself"
            )
        is_for_all = instance_of_collection(request.name) is None
        states = await self._executor.list(context, all_instances=is_for_all)
        if request.page_token:
            names = [state.name for state in states]
            if request.page_token not in names:
                raise InvalidRequest(
                    "the page token isn't in this list, or its operation was forgotten; list again"
                )
            states = states[names.index(request.page_token) + 1 :]
        size = min(request.page_size if request.page_size > 0 else _PAGE_SIZE, _PAGE_SIZE)
        response = operations_pb2.ListOperationsResponse(operations=map(operation, states[:size]))
        if len(states) > size:
            response.next_page_token = states[size - 1].name
        return response

    async def CancelOperation(
        self, request: operations_pb2.CancelOperationRequest, context: Context
    ) -> Empty:
        """Cancel an operation; its action continues while other operations wait for it."""
        await self._executor.cancel(context, request.name)
        return Empty()

    async def DeleteOperation(
        self, request: operations_pb2.DeleteOperationRequest, context: Context
    ) -> Empty:
        """Forget an operation as soon as it has ended; this doesn't cancel it."""
        await self._executor.forget(context, request.name)
        return Empty()
