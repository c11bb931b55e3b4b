"""The Capabilities service: what this server can do, and nothing more."""

from __future__ import annotations

from typing import Final

from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.proto import semver_pb2
from reapi_local.protocol.digest import DigestFunction
from reapi_local.rpc.call import Call
from reapi_local.rpc.instances import Instances

MAX_BATCH_BYTES: Final = 4 * 1024 * 1024
"""Most content in one BatchUpdateBlobs or BatchReadBlobs: what gRPC clients accept by default."""


class CapabilitiesService:
    """REAPI v2, service Capabilities."""

    def __init__(self, instances: Instances) -> None:
        self._instances = instances

    async def GetCapabilities(
        self, request: re_pb2.GetCapabilitiesRequest, call: Call
    ) -> re_pb2.ServerCapabilities:
        """Cache capabilities only: there is no execution, so none is described."""
        self._instances.admit(request.instance_name)
        return re_pb2.ServerCapabilities(
            cache_capabilities=re_pb2.CacheCapabilities(
                digest_functions=[re_pb2.DigestFunction.Value.Name(f) for f in DigestFunction],
                action_cache_update_capabilities=re_pb2.ActionCacheUpdateCapabilities(
                    update_enabled=True
                ),
                max_batch_total_size_bytes=MAX_BATCH_BYTES,
                symlink_absolute_path_strategy=re_pb2.SymlinkAbsolutePathStrategy.ALLOWED,
            ),
            low_api_version=semver_pb2.SemVer(major=2, minor=0),
            high_api_version=semver_pb2.SemVer(major=2, minor=3),
        )
