"""The Execution service: executing actions, and waiting for them.

Source: REAPI v2, service Execution.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from google.longrunning import operations_pb2

from reapi_local.context import Context
from reapi_local.execute.executor import ExecuteRequest, Executor, OperationState
from reapi_local.execute.inline_request import InlineRequest
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import parse_digest


class ExecutionService:
    """REAPI v2, service Execution."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def Execute(
        self, request: re_pb2.ExecuteRequest, context: Context
    ) -> AsyncGenerator[operations_pb2.Operation, None]:
        """Execute an action. The operation is sent at once, and again at each change.

        Raises:
            Unsupported: this server executes no actions; the message says why.
        """
        wanted = ExecuteRequest(
            action=parse_digest(request.action_digest, request.digest_function),
            priority=request.execution_policy.priority,
            skip_cache_lookup=request.skip_cache_lookup,
            inline=InlineRequest(
                request.inline_stdout, request.inline_stderr, frozenset(request.inline_output_files)
            ),
        )
        async with aclosing(self._executor.execute(context, wanted)) as states:
            async for state in states:
                yield operation(state)

    async def WaitExecution(
        self, request: re_pb2.WaitExecutionRequest, context: Context
    ) -> AsyncGenerator[operations_pb2.Operation, None]:
        """Continue to watch an operation, which may have ended already.

        Raises:
            OperationNotFound: no operation has that name, or it was forgotten.
        """
        async with aclosing(self._executor.wait(context, request.name)) as states:
            async for state in states:
                yield operation(state)


def operation(state: OperationState) -> operations_pb2.Operation:
    """The wire form of an operation's state."""
    message = operations_pb2.Operation(name=state.name, done=state.response is not None)
    metadata = re_pb2.ExecuteOperationMetadata(
        stage=re_pb2.ExecutionStage.Value.Name(state.stage),
        action_digest=re_pb2.Digest(hash=state.action.hash_hex, size_bytes=state.action.size_bytes),
        digest_function=re_pb2.DigestFunction.Value.Name(state.action.function),
    )
    message.metadata.Pack(metadata)
    if state.response is not None:
        state.response.status.SetInParent()  # OK is a status, too: it is sent, though it is empty
        message.response.Pack(state.response)
    return message
