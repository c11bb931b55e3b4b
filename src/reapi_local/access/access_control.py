"""Authentication and authorization, both for gRPC and for the admin interface."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Final

from reapi_local.access.authorization_header import token_in
from reapi_local.access.instances import Instances
from reapi_local.access.principal import Principal, Verb
from reapi_local.errors import PermissionDenied, Unauthenticated

_NO_TOKEN: Final = (
    "the call has no token; send the header `authorization: Bearer TOKEN` "
    "(`reapi-local token show` prints it), or the token as the password of HTTP Basic"
)
_WRONG_TOKEN: Final = (
    "this server doesn't know the token; `reapi-local token show` prints the right one"
)


class AccessControl:
    """Knows the principal of each token, and the instances of the server.

    ``without_token``: who makes a call that has no header ``authorization``; None = nobody, so that
    such a call is refused. A call whose token is wrong is refused in any case.
    """

    def __init__(
        self,
        principals: Mapping[str, Principal],
        instances: Instances,
        without_token: Principal | None = None,
    ) -> None:
        self._know({token.encode(): principal for token, principal in principals.items()})
        self._instances = instances
        self._without_token = without_token

    def _know(self, by_token: dict[bytes, Principal]) -> None:
        self._by_token = by_token
        # As most clients spell it, so that their calls need one comparison and no parsing.
        self._by_header = {b"Bearer " + token: who for token, who in by_token.items()}

    def replace_token(self, old: str, new: str) -> None:
        """From now on the principal of the token ``old`` has ``new``, and ``old`` is wrong."""
        now = {(new.encode() if t == old.encode() else t): who for t, who in self._by_token.items()}
        self._know(now)

    def authenticate(self, authorization: bytes | None) -> Principal:
        """The principal whose token is in the header ``authorization``; None = no such header.

        Raises:
            Unauthenticated: there is no token and the call needs one, or this server doesn't know
                the token.
        """
        if authorization is None:
            if self._without_token is None:
                raise Unauthenticated(_NO_TOKEN)
            return self._without_token
        for accepted, principal in self._by_header.items():
            if hmac.compare_digest(accepted, authorization):
                return principal
        given = token_in(authorization)
        for token, principal in self._by_token.items():
            if hmac.compare_digest(token, given):
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
                f"{principal.name} may not {verb.value} here; {_remedy(principal, verb)}"
            )
        if instance is not None:
            self._instances.admit(instance)


def _remedy(principal: Principal, verb: Verb) -> str:
    if not principal.is_anonymous:
        return f"ask the server's administrator for the right to {verb.value}"
    remedy = "send the token (`reapi-local token show` prints it)"
    if verb is Verb.WRITE:
        return f"{remedy}, or start the server with --anonymous write"
    return remedy
