"""The commands ``export``, ``replay`` and ``shell``. The launcher has the help for people."""

from __future__ import annotations

from typing import Any, Final

from reapi_contract import command_line
from reapi_contract.command_line import EXPORT, REPLAY, SHELL

COMMANDS: Final = (EXPORT, REPLAY, SHELL)


def add_commands(commands: Any) -> None:
    """Add them to the commands of the program."""
    export, replay, shell = (commands.add_parser(name, help="see reapi-local") for name in COMMANDS)
    for one in (export, replay, shell):
        one.add_argument("action", metavar="ACTION")
        one.add_argument(command_line.INSTANCE_FLAG, default="")
        one.add_argument(command_line.FUNCTION_FLAG, default="SHA256")
        one.add_argument(command_line.ADDRESS_FLAG, required=True)
        one.add_argument(command_line.DATA_DIR_FLAG, required=True)
    export.add_argument(command_line.TO_FLAG, required=True)
    replay.add_argument(command_line.JSON_FLAG, action="store_true")
    shell.add_argument(command_line.SANDBOX_FLAG, default="auto")
    shell.add_argument(command_line.HERMETIC_FLAG, action="store_true")
    shell.add_argument(command_line.SHOW_FLAG, action="append", default=[])
