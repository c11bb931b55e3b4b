"""Every method that is served: its verb, and where its request names the instance.

A method that isn't in this table can't be served, so no method escapes authorization.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from reapi_local.access.principal import Verb
from reapi_local.events import CallBegan
from reapi_local.protocol.operation_name import instance_of_collection, instance_of_operation
from reapi_local.protocol.resource_name import instance_of_resource


@dataclass(frozen=True)
class Method:
    """A method by the short names of service and method, like ``ActionCache/GetActionResult``.

    ``instance_of`` returns the instance that a request names (of a stream, the first request); None
    means all instances. It raises InvalidRequest if the name is malformed.
    """

    name: str
    verb: Verb
    instance_of: Callable[[Any], str | None]

    @cached_property
    def began(self) -> CallBegan:
        """The event of a call that comes in, which is the same for each call."""
        return CallBegan(self.name)


def _field(request: Any) -> str | None:
    instance: str = request.instance_name
    return instance


def _resource(request: Any) -> str | None:
    return instance_of_resource(request.resource_name)


def _operation(request: Any) -> str | None:
    return instance_of_operation(request.name)


def _collection(request: Any) -> str | None:
    return instance_of_collection(request.name)


METHODS: Final = {
    method.name: method
    for method in (
        Method("ActionCache/GetActionResult", Verb.READ, _field),
        Method("ActionCache/UpdateActionResult", Verb.WRITE, _field),
        Method("ByteStream/Read", Verb.READ, _resource),
        Method("ByteStream/Write", Verb.WRITE, _resource),
        Method("ByteStream/QueryWriteStatus", Verb.WRITE, _resource),
        Method("Capabilities/GetCapabilities", Verb.READ, _field),
        Method("ContentAddressableStorage/FindMissingBlobs", Verb.READ, _field),
        Method("ContentAddressableStorage/BatchUpdateBlobs", Verb.WRITE, _field),
        Method("ContentAddressableStorage/BatchReadBlobs", Verb.READ, _field),
        Method("ContentAddressableStorage/GetTree", Verb.READ, _field),
        Method("Execution/Execute", Verb.EXECUTE, _field),
        Method("Execution/WaitExecution", Verb.EXECUTE, _operation),
        Method("Operations/GetOperation", Verb.EXECUTE, _operation),
        Method("Operations/ListOperations", Verb.EXECUTE, _collection),
        Method("Operations/CancelOperation", Verb.EXECUTE, _operation),
        Method("Operations/DeleteOperation", Verb.EXECUTE, _operation),
    )
}
