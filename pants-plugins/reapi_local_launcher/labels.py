"""The names of commands and settings in messages."""

from __future__ import annotations

from dataclasses import dataclass

from reapi_contract import setting_names
from reapi_contract.setting_names import flag


@dataclass(frozen=True)
class Labels:
    """The names that the user types. The defaults are those of the command line."""

    up: str = "reapi-local up"
    down: str = "reapi-local down"
    kill: str = "reapi-local down --kill"
    check: str = "reapi-local check"
    data_dir: str = flag(setting_names.DATA_DIR)
    port: str = flag(setting_names.PORT)
    max_size: str = flag(setting_names.MAX_SIZE)
    idle_exit: str = flag(setting_names.IDLE_EXIT)
    slots: str = flag(setting_names.SLOTS)
    server_python: str = "--server-python"
    address: str = "--address"
    token_path: str = "--token-path"


COMMAND_LINE = Labels()
