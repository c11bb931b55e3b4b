"""From the values of `[reapi]` to what the launcher takes. Imports nothing of Pants."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

from reapi_local_plugin.launcher.errors import LauncherError
from reapi_local_plugin.launcher.settings import Settings, Words

AUTO = "auto"
_TOKEN_PATH = "[reapi].token_path"

WORDS = Words(
    up="pants reapi-up",
    down="pants reapi-down",
    kill="pants reapi-down --kill",
    check="pants reapi-check",
    data_dir="[reapi].data_dir",
    port="[reapi].port",
    max_size="[reapi].max_size",
    server_python="[reapi].server_python",
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
    if path is None:
        return None
    try:
        token = Path(path).read_text(encoding="utf-8").strip()
        if re.fullmatch("[!-~]+", token):
            return token
        why = f"{path} holds no token: one word of ASCII characters"
    except (OSError, ValueError) as error:
        why = str(error)
    raise LauncherError("The server's token cannot be read.", f"{why}.", f"Correct {_TOKEN_PATH}.")


def _plain(choice: Any) -> str:
    """The text of a choice; Pants hands out the enum's member."""
    return str(getattr(choice, "value", choice))
