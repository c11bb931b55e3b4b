"""Contexts of calls, as the interceptor would make them."""

from __future__ import annotations

from reapi_local.access.principal import OWNER, Principal
from reapi_local.context import Context
from reapi_local.proto import remote_execution_pb2 as re_pb2


def context(
    run: str = "", instance: str = "", tool: str = "", principal: Principal = OWNER
) -> Context:
    """A call of the invocation ``run`` of ``tool``; "" = its client doesn't say."""
    metadata = re_pb2.RequestMetadata(tool_invocation_id=run)
    if tool:
        metadata.tool_details.tool_name = tool
    return Context(principal, instance, metadata.SerializeToString())
