"""Pants, whose processes expect to run on the machine of the client.

Pants finds programs there and names them by their absolute paths. It expects of a server:

- ``{chroot}`` in arguments and variables stands for the input root. Releases from 2.17 to 2.24
  send it as it is and leave it to the server; later ones replace it themselves.
- Named caches are directories below a path that Pants is configured with. Pants puts a wrapper
  script before the program, which makes links to the caches, changes into the working directory
  and starts the program. The Command then has no working directory, but its outputs are relative
  to the directory in the script.
- Pants ignores symlinks among the outputs of a result, except within directories, and waits for the
  file they lead to.
- After a server's restart Pants asks for an operation by name. If the answer is NOT_FOUND, the
  build fails; if it is ABORTED, Pants executes the action again.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from typing import Final

from reapi_local.errors import Code, InvalidRequest, OperationNotFound, ReapiError
from reapi_local.execute.clients.profile import ClientProfile
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.command import ParsedCommand
from reapi_local.protocol.paths import resolve_path

WRAPPER: Final = "__pants_wrapper__"
"""The script's name in the input root."""

_CHROOT: Final = "{chroot}"
_CACHE_KEY: Final = "PANTS_CACHE_KEY"
# The pattern includes the next line, because a cache name may look like a command. The length is
# bounded because shlex takes quadratic time.
_CHANGE: Final = re.compile(rb'^cd (.{1,16000})\nif \[ "\$\?" != 0 \]; then$', re.MULTILINE)


class ExecuteAgain(ReapiError):
    """The operation that Pants waits for is unknown. Pants has to execute the action again."""

    code = Code.ABORTED


class PantsProfile(ClientProfile):
    """The profile of Pants; see the docstring of this module."""

    expects_host_access = True
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
        """The working directory the script changes into; "" if it stays in the input root."""
        changes = _CHANGE.findall(script)
        if not changes:
            return ""
        try:
            (directory,) = shlex.split(changes[-1].decode())
            return resolve_path("", directory)
        except (ValueError, InvalidRequest):  # not a script that Pants makes
            return ""

    def error_for_unknown_operation(self, error: OperationNotFound) -> ReapiError:
        return ExecuteAgain(str(error))


def made_by_pants(command: re_pb2.Command) -> bool:
    """Whether Pants made this command: it adds variables to each that are of its own cache key."""
    return any(
        variable.name.startswith(_CACHE_KEY) for variable in command.environment_variables
    ) or any(_CHROOT in argument or argument == f"./{WRAPPER}" for argument in command.arguments)


PANTS: Final = PantsProfile()
