"""Authentication and authorization, both for gRPC and for the admin interface."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Final

from reapi_local.access.instances import Instances
from reapi_local.access.principal import Principal, Verb
from reapi_local.errors import PermissionDenied, Unauthenticated

_NO_TOKEN: Final = (
    "the call has no token; send the header `authorization: Bearer TOKEN` "
    "(`reapi-local up` prints it)"
)
_WRONG_TOKEN: Final = "this server doesn't know the token; `reapi-local up` prints the right one"


class AccessControl:
    """Knows the principal of each bearer token, and the instances of the server."""

    def __init__(self, principals: Mapping[str, Principal], instances: Instances) -> None:
        self._by_header = {
            f"Bearer {token}".encode(): principal for token, principal in principals.items()
        }
        self._instances = instances

    def authenticate(self, authorization: bytes | None) -> Principal:
        """The principal whose token is in the header ``authorization``; None = no such header.

        Raises:
            Unauthenticated: there is no token, or this server doesn't know it.
        """
        if authorization is None:
            raise Unauthenticated(_NO_TOKEN)
        for accepted, principal in self._by_header.items():
            if hmac.compare_digest(accepted, authorization):
                return principal
        raise Unauthenticated(_WRONG_TOKEN)

    def authorize(self, principal: Principal, verb: Verb, instance: str | None) -> None:
        """Check that the principal may use the verb on that instance; None = on all of them.

        Raises:
            PermissionDenied: the principal may not use this verb.
            InvalidRequest: ``instance`` can't be an instance name.
            InstanceNotFound: the server has a fixed list of instances, without this one.
        """
        if verb not in principal.verbs:
            raise PermissionDenied(
                f"{principal.name} may not {verb.value} here; ask the server's administrator for "
                f"the right to {verb.value}"
            )
        if instance is not None:
            self._instances.admit(instance)
