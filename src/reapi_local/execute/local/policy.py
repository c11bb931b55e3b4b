"""What this server allows to actions, whichever client asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reapi_local.errors import InvalidRequest
from reapi_local.execute.clients.profile import ClientProfile

_NETWORK_PROPERTY: Final = "network"


@dataclass(frozen=True)
class Policy:
    """Times in seconds. ``hermetic``: no action gets the network.

    ``shares_host``: clients run on this machine.
    """

    default_timeout: float
    max_timeout: float
    hermetic: bool
    shares_host: bool

    def timeout(self, asked: float | None) -> float:
        """The timeout of an action that asks for ``asked`` seconds; None if it asks for none.

        Raises:
            InvalidRequest: the action asks for more than the maximum.
        """
        if asked is not None and asked > self.max_timeout:
            raise InvalidRequest(
                f"the action asks for a timeout of {asked:g} seconds, but the maximum is "
                f"{self.max_timeout:g}; ask for less, or raise the server's max_action_timeout"
            )
        return min(self.default_timeout, self.max_timeout) if asked is None else asked

    def has_network(self, properties: Mapping[str, str], profile: ClientProfile) -> bool:
        """Whether an action with these platform properties gets the host's network."""
        if self.hermetic:
            return False
        if _NETWORK_PROPERTY in properties:
            return properties[_NETWORK_PROPERTY] == "on"
        return profile.expects_host_access and self.shares_host
