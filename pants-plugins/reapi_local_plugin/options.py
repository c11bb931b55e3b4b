"""From the values of `[reapi]` to what the launcher takes. Imports nothing of Pants."""

from __future__ import annotations

from typing import Any, Optional

from reapi_local_plugin.launcher.settings import Settings, Words

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
)


def launcher_settings(reapi: Any) -> Settings:
    """The launcher's settings; `reapi` is the subsystem, or Pants' container of its values."""
    return Settings(
        data_dir=reapi.data_dir,
        port=reapi.port,
        max_size=reapi.max_size,
        idle_exit_s=reapi.idle_exit,
        server_python=reapi.server_python,
        words=WORDS,
    )


def is_own_server(reapi: Any) -> bool:
    """Whether the server is this user's, to be found, started and stopped by the launcher."""
    return bool(reapi.address == AUTO)


def is_off(reapi: Any) -> bool:
    """Whether `mode` is off; Pants hands out the enum's member."""
    return bool(getattr(reapi.mode, "value", reapi.mode) == "off")


def read_token(path: Optional[str]) -> Optional[str]:
    """The token in a file, None when no file is named. Raises OSError."""
    if path is None:
        return None
    with open(path, encoding="utf-8") as file:
        return file.read().strip()
