"""What a client expects beyond REAPI; a client that expects nothing has this profile."""

from __future__ import annotations

from reapi_local.errors import OperationNotFound, ReapiError
from reapi_local.protocol.command import ParsedCommand


class ClientProfile:
    """The profile of clients that keep to REAPI."""

    uses_host: bool = False
    """Where client and server share a machine its actions expect what they would have without a
    server: the machine's network, and directories that they share."""

    follows_links: bool = False
    """A symlink among the outputs stands for what it leads to."""

    def with_input_root(self, command: ParsedCommand, input_root: str) -> ParsedCommand:
        """The command for an input root at this absolute path."""
        return command

    def wrapper(self, command: ParsedCommand) -> str | None:
        """The input file that tells the directory of the outputs; None = the command does."""
        return None

    def wrapped_directory(self, script: bytes) -> str:
        """The directory that the content of such a file tells."""
        return ""

    def lost_operation(self, error: OperationNotFound) -> ReapiError:
        """What to tell a client that waits for an operation that isn't known."""
        return error


DEFAULT = ClientProfile()
