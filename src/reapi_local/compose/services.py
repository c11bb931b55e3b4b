"""What the server offers over gRPC."""

from __future__ import annotations

from collections.abc import Mapping

from reapi_local.clock import Clock
from reapi_local.compose.storage import Storage
from reapi_local.execute.executor import Executor
from reapi_local.rpc.action_cache_service import ActionCacheService
from reapi_local.rpc.byte_stream_service import ByteStreamService
from reapi_local.rpc.capabilities_service import CapabilitiesService
from reapi_local.rpc.cas_service import CasService
from reapi_local.rpc.execution_service import ExecutionService
from reapi_local.rpc.in_flight import InFlight
from reapi_local.rpc.operations_service import OperationsService


def make_services(
    storage: Storage,
    executor: Executor,
    byte_stream: ByteStreamService,
    in_flight: InFlight,
    clock: Clock,
) -> Mapping[str, object]:
    """The services by the short names of their descriptors. To add another one, add it here."""
    return {
        "ActionCache": ActionCacheService(storage.client_results, storage.blobs, clock),
        "ByteStream": byte_stream,
        "Capabilities": CapabilitiesService(executor),
        "ContentAddressableStorage": CasService(storage.client_blobs, in_flight),
        "Execution": ExecutionService(executor),
        "Operations": OperationsService(executor),
    }
