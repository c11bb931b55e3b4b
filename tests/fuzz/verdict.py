"""Whether a server's answer to a hostile call is one that a caller's mistake may get."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from fuzz.scenarios import Call
from patience import PATIENCE_S
from reapi_local.proto.remote_execution_pb2 import (
    BatchReadBlobsResponse,
    BatchUpdateBlobsResponse,
    ExecuteResponse,
)
from rpc.helpers import METHODS

_ACCEPTABLE = frozenset(
    code.value[0]
    for code in (
        grpc.StatusCode.OK,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,  # a size that no store has room for
    )
)
_BUSY = grpc.StatusCode.ABORTED.value[0]
"""Another call writes under that name; and what Pants is told about an unknown operation."""
_CLIENTS_OWN = "Internal error from Core"
"""grpcio's client says so if a call was answered before all of its requests were sent."""
_OF_A_TIMEOUT = grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
"""An action's timeout, within the response to Execute."""


class Peer:
    """A client that sends bytes as they are, and looks at what comes back."""

    def __init__(self, channel: grpc.aio.Channel, token: str) -> None:
        self._channel = channel
        self._token = ("authorization", f"Bearer {token}")
        self.outcomes: Counter[tuple[str, str]] = Counter()
        """How often each method ended with each code."""

    async def faults(self, call: Call) -> list[str]:
        """Make a call; returns what is wrong with its outcome, normally nothing."""
        method = METHODS[call.method]
        start = getattr(
            self._channel,
            ("stream" if method.client_streaming else "unary")
            + ("_stream" if method.server_streaming else "_unary"),
        )(f"/{method.containing_service.full_name}/{method.name}")
        request = iter(call.requests) if method.client_streaming else call.requests[0]
        started = start(request, metadata=(self._token, *call.headers), timeout=PATIENCE_S)
        try:
            answers = (
                [answer async for answer in started] if method.server_streaming else [await started]
            )
        except grpc.aio.AioRpcError as error:
            self.outcomes[call.method, error.code().name] += 1
            code = error.code().value[0]
            if code in _ACCEPTABLE or code == _BUSY or error.details() == _CLIENTS_OWN:
                return []
            return [f"{call.method}: {error.code().name}: {error.details()}"]
        self.outcomes[call.method, "OK"] += 1
        kind = GetMessageClass(method.output_type)
        return [
            f"{call.method}: within the answer: {status.code}: {status.message}"
            for answer in answers
            for status in _statuses(kind.FromString(answer))
            if status.code not in _ACCEPTABLE and status.code != _OF_A_TIMEOUT
        ]


def _statuses(answer: Message) -> Iterator[Any]:
    if isinstance(answer, BatchUpdateBlobsResponse | BatchReadBlobsResponse):
        yield from (response.status for response in answer.responses)
    if answer.DESCRIPTOR.full_name == "google.longrunning.Operation":
        response = ExecuteResponse()
        if answer.response.Unpack(response):  # type: ignore[attr-defined]
            yield response.status
