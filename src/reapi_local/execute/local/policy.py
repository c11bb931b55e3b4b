"""What this server allows to actions, whichever client asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from reapi_local.errors import InvalidRequest, OtherPlatform
from reapi_local.execute.clients.profile import ClientProfile
from reapi_local.execute.local.host_platform import HostPlatform
from reapi_local.protocol.command import ParsedCommand

_NETWORK_PROPERTY: Final = "network"


@dataclass(frozen=True)
class Policy:
    """Times in seconds. ``hermetic``: no action gets the network.

    ``shares_host``: clients run on this machine. ``platform``: actions that ask for another one are
    refused; None = they are run.
    """

    default_timeout: float
    max_timeout: float
    hermetic: bool
    shares_host: bool
    platform: HostPlatform | None = None

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

    def check_platform(self, command: ParsedCommand) -> None:
        """Raise OtherPlatform if the command asks for another operating system or processor."""
        if self.platform is None:
            return
        unmet = self.platform.unmet(command.properties)
        if unmet is not None:
            raise OtherPlatform(
                f"the action asks for {unmet[:100]}, but this server runs actions on "
                f"{self.platform.system} and {self.platform.processor} alone; run the action "
                "elsewhere, or set the server's other_platforms to run"
            )

    def has_network(self, command: ParsedCommand, profile: ClientProfile) -> bool:
        """Whether a command with its platform properties gets the host's network."""
        if self.hermetic:
            return False
        properties = dict(command.properties)
        if _NETWORK_PROPERTY in properties:
            return properties[_NETWORK_PROPERTY] == "on"
        return profile.expects_host_access and self.shares_host
