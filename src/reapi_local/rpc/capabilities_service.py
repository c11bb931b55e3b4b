"""The Capabilities service: what this server can do."""

from __future__ import annotations

from typing import Final

from reapi_local.access.principal import Verb
from reapi_local.context import Context
from reapi_local.execute.executor import Executor
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.proto import semver_pb2
from reapi_local.protocol.command import NODE_PROPERTIES
from reapi_local.protocol.digest import DigestFunction
from reapi_local.rpc.batch_limits import MAX_BATCH_BYTES

_PRIORITIES: Final = re_pb2.PriorityCapabilities(
    priorities=[
        re_pb2.PriorityCapabilities.PriorityRange(min_priority=-(2**31), max_priority=2**31 - 1)
    ]
)


class CapabilitiesService:
    """REAPI v2, service Capabilities."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def GetCapabilities(
        self, request: re_pb2.GetCapabilitiesRequest, context: Context
    ) -> re_pb2.ServerCapabilities:
        """What the server offers to this client; execution only if a sandbox works here."""
        allowed = context.principal.verbs
        functions = [re_pb2.DigestFunction.Value.Name(f) for f in DigestFunction]
        answer = re_pb2.ServerCapabilities(
            cache_capabilities=re_pb2.CacheCapabilities(
                digest_functions=functions,
                action_cache_update_capabilities=re_pb2.ActionCacheUpdateCapabilities(
                    update_enabled=Verb.WRITE in allowed
                ),
                max_batch_total_size_bytes=MAX_BATCH_BYTES,
                symlink_absolute_path_strategy=re_pb2.SymlinkAbsolutePathStrategy.ALLOWED,
                supported_compressors=[re_pb2.Compressor.ZSTD],
                supported_batch_update_compressors=[re_pb2.Compressor.ZSTD],
            ),
            low_api_version=semver_pb2.SemVer(major=2, minor=0),
            high_api_version=semver_pb2.SemVer(major=2, minor=3),
        )
        if Verb.EXECUTE in allowed and (await self._executor.describe()).offered:
            answer.execution_capabilities.CopyFrom(
                re_pb2.ExecutionCapabilities(
                    digest_function=re_pb2.DigestFunction.SHA256,
                    digest_functions=functions,
                    exec_enabled=True,
                    execution_priority_capabilities=_PRIORITIES,
                    supported_node_properties=NODE_PROPERTIES,
                )
            )
        return answer
