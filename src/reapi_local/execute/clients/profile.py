"""What a client may expect beyond REAPI; most clients expect none of it."""

from __future__ import annotations

from reapi_local.errors import OperationNotFound, ReapiError
from reapi_local.protocol.command import ParsedCommand


class ClientProfile:
    """The profile of clients that expect only REAPI. Profiles of other clients override it."""

    expects_host_access: bool = False
    """If client and server share a machine, its actions expect the host's network and shared cache
    directories, as in local execution."""

    follows_links: bool = False
    """If an output is a symlink, the client wants the file or directory that it leads to."""

    def with_input_root(self, command: ParsedCommand, input_root: str) -> ParsedCommand:
        """The command for an input root at this absolute path."""
        return command

    def wrapper(self, command: ParsedCommand) -> str | None:
        """The input file that names the directory of the outputs; None if the command names it."""
        return None

    def wrapped_directory(self, script: bytes) -> str:
        """The directory that such a file names, from its content."""
        return ""

    def error_for_unknown_operation(self, error: OperationNotFound) -> ReapiError:
        """The error for a client that waits for an operation that the server doesn't know."""
        return error


DEFAULT = ClientProfile()
