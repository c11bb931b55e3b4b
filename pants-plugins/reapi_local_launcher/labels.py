"""The names of commands and settings in messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from shlex import quote

from reapi_contract import setting_names
from reapi_contract.setting_names import flag


@dataclass(frozen=True)
class Labels:
    """The names that the user types. The defaults are those of the command line."""

    up: str = "reapi-local up"
    down: str = "reapi-local down"
    kill: str = "reapi-local down --kill"
    check: str = "reapi-local check"
    bazelrc: str = "reapi-local bazelrc"
    data_dir: str = flag(setting_names.DATA_DIR)
    port: str = flag(setting_names.PORT)
    max_size: str = flag(setting_names.MAX_SIZE)
    idle_exit: str = flag(setting_names.IDLE_EXIT)
    slots: str = flag(setting_names.SLOTS)
    server_python: str = "--server-python"
    address: str = "--address"
    token_path: str = "--token-path"

    @property
    def restart(self) -> str:
        """Both commands, for a sentence."""
        return f"`{self.down}`, then `{self.up}`"

    def with_flags(self, every: Sequence[str], of_up: Sequence[str] = ()) -> Labels:
        """The commands for a server that was chosen by flags. `of_up`: what only `up` takes."""
        return replace(
            self,
            up=_with(self.up, [*every, *of_up]),
            down=_with(self.down, every),
            kill=_with(self.kill, every),
            check=_with(self.check, every),
            bazelrc=_with(self.bazelrc, every),
        )


def _with(command: str, flags: Sequence[str]) -> str:
    return " ".join([command, *map(quote, flags)])


COMMAND_LINE = Labels()
