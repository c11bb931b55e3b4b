"""Pants, which runs its processes as if they were on its own machine.

It finds programs there and names them by their absolute paths, and expects of a server:

- ``{chroot}`` in arguments and variables stands for the input root. Releases from 2.17 to 2.24
  send it as it is and leave it to the server; later ones replace it themselves.
- Named caches are directories below a path that Pants is configured with. It reaches them by
  putting a wrapper script before the program: that makes links to them, changes into the working
  directory and goes on. The Command then has no working directory, yet its outputs are relative to
  the one in the script.
- It ignores symlinks among the outputs of a result, except within directories, and waits for the
  file they lead to.
- After a server's restart it asks for an operation by name and takes NOT_FOUND for the end of the
  build; told ABORTED it executes the action again.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from typing import Final

from reapi_local.errors import Code, InvalidRequest, OperationNotFound, ReapiError
from reapi_local.execute.clients.profile import ClientProfile
from reapi_local.protocol.command import ParsedCommand
from reapi_local.protocol.tree import check_output_path

WRAPPER: Final = "__pants_wrapper__"
"""The script's name in the input root."""

_CHROOT: Final = "{chroot}"
# Only with the line that follows it: a cache may have a name that looks like a command. And no
# longer than a path can be, quoted: shlex takes four times as long for twice as much.
_CHANGE: Final = re.compile(rb'^cd (.{1,16000})\nif \[ "\$\?" != 0 \]; then$', re.MULTILINE)


class ExecuteAgain(ReapiError):
    """An operation that Pants waits for isn't known: it has to execute the action once more."""

    code = Code.ABORTED


class PantsProfile(ClientProfile):
    """See above."""

    uses_host = True
    follows_links = True

    def with_input_root(self, command: ParsedCommand, input_root: str) -> ParsedCommand:
        return replace(
            command,
            arguments=tuple(
                argument.replace(_CHROOT, input_root) for argument in command.arguments
            ),
            environment={
                name: value.replace(_CHROOT, input_root)
                for name, value in command.environment.items()
            },
        )

    def wrapper(self, command: ParsedCommand) -> str | None:
        is_wrapped = command.arguments[0] == f"./{WRAPPER}" and not command.working_directory
        return WRAPPER if is_wrapped else None

    def wrapped_directory(self, script: bytes) -> str:
        """The working directory the script changes into; "" when it stays at the input root."""
        changes = _CHANGE.findall(script)
        if not changes:
            return ""
        try:
            (directory,) = shlex.split(changes[-1].decode())
            check_output_path(directory)
        except (ValueError, InvalidRequest):  # not a script that Pants makes
            return ""
        return directory

    def lost_operation(self, error: OperationNotFound) -> ReapiError:
        return ExecuteAgain(str(error))


PANTS: Final = PantsProfile()
