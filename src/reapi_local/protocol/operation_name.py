"""Names of operations, which include the instance.

Forms: ``[{instance}/]operations/{id}`` for one operation, ``[{instance}/]operations`` or the bare
``{instance}`` for all operations of an instance.
Source: google.longrunning, as REAPI v2 uses it; REAPI reserves the word ``operations``.
"""

from __future__ import annotations

from typing import Final

from reapi_local.errors import InvalidRequest
from reapi_local.protocol.instance import check_instance_name

_COLLECTION: Final = "operations"


def operation_name(instance: str, identifier: str) -> str:
    """The name of an operation."""
    return "/".join(filter(None, (instance, _COLLECTION, identifier)))


def instance_of_operation(name: str) -> str:
    """The instance in an operation's name; "" for a name that no operation can have."""
    *instance, collection, _ = ("", *name.split("/")) if "/" not in name else name.split("/")
    return "/".join(instance) if collection == _COLLECTION else ""


def instance_of_collection(name: str) -> str | None:
    """The instance whose operations are to be listed; None = all instances, for the name "".

    Some clients, like BuildGrid's, name the instance alone.

    Raises:
        InvalidRequest: ``name`` isn't the name of a list.
    """
    if not name:
        return None
    *instance, last = segments = name.split("/")
    if last == _COLLECTION:
        return "/".join(instance)
    if _COLLECTION in segments or "" in segments:
        raise InvalidRequest(
            f"{name[:300]!r} isn't a list of operations; ask for …/operations, or for an instance"
        )
    return check_instance_name(name)
