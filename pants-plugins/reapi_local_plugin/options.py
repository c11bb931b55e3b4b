"""From the values of `[reapi]` to what the launcher takes. Imports nothing of Pants."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Optional

from reapi_local_launcher import token_file
from reapi_local_launcher.settings import Settings, Words

AUTO = "auto"

WORDS = Words(
    up="pants reapi-up",
    down="pants reapi-down",
    kill="pants reapi-down --kill",
    check="pants reapi-check",
    data_dir="[reapi].data_dir",
    port="[reapi].port",
    max_size="[reapi].max_size",
    server_python="[reapi].server_python",
    address="[reapi].address, where `auto` is a server of your own",
    token_path="[reapi].token_path",
)


EXECUTION_WORDS = replace(WORDS, up="pants reapi-up --execution")


def launcher_settings(reapi: Any, *, executes: bool) -> Settings:
    """The launcher's settings; `reapi` is the subsystem, or Pants' container of its values.

    `executes`: the server is there to run processes, so `reapi-up` alone is no remedy.
    """
    return Settings(
        data_dir=reapi.data_dir,
        port=reapi.port,
        max_size=reapi.max_size,
        idle_exit_s=reapi.idle_exit,
        server_python=reapi.server_python,
        slots=reapi.slots,
        hermetic=reapi.hermetic,
        sandbox=_plain(reapi.sandbox),
        words=EXECUTION_WORDS if executes else WORDS,
    )


def is_own_server(reapi: Any) -> bool:
    """Whether the server is this user's, to be found, started and stopped by the launcher."""
    return bool(reapi.address == AUTO)


def is_off(reapi: Any) -> bool:
    """Whether `mode` is off."""
    return _plain(reapi.mode) == "off"


def read_token(path: Optional[str]) -> Optional[str]:
    """The token in a file, None when no file is named. Raises LauncherError."""
    return token_file.read_token(path, WORDS.token_path)


def _plain(choice: Any) -> str:
    """The text of a choice; Pants hands out the enum's member."""
    return str(getattr(choice, "value", choice))
