"""The values of `[reapi]` as the launcher takes them. Imports nothing of Pants."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Optional

from reapi_local_launcher import token_file
from reapi_local_launcher.labels import Labels
from reapi_local_launcher.server_settings import ServerSettings

AUTO = "auto"
OFF = "off"

LABELS = Labels(
    up="pants reapi-up",
    down="pants reapi-down",
    kill="pants reapi-down --kill",
    check="pants reapi-check",
    data_dir="[reapi].data_dir",
    port="[reapi].port",
    max_size="[reapi].max_size",
    idle_exit="[reapi].idle_exit",
    slots="[reapi].slots",
    server_python="[reapi].server_python",
    address="[reapi].address, where `auto` is a server of your own",
    token_path="[reapi].token_path",
)
_SERVER_OPTIONS = (
    *("data_dir", "port", "max_size", "idle_exit"),
    *("server_python", "slots", "hermetic", "sandbox"),
)
EXECUTION_LABELS = replace(LABELS, up="pants reapi-up --execution")


def launcher_settings(reapi: Any, *, executes: bool) -> ServerSettings:
    """The launcher's settings; `reapi` is the subsystem, or Pants' container of its values.

    `executes`: Pants runs processes on the server, so remedies name `reapi-up --execution`.
    """
    return ServerSettings(
        data_dir=reapi.data_dir,
        port=reapi.port,
        max_size=reapi.max_size,
        idle_exit_s=reapi.idle_exit,
        server_python=reapi.server_python,
        slots=reapi.slots,
        hermetic=reapi.hermetic,
        sandbox=_plain(reapi.sandbox),
        show=tuple(reapi.show),
        labels=_labels(reapi, EXECUTION_LABELS if executes else LABELS),
    )


def _labels(reapi: Any, labels: Labels) -> Labels:
    """The commands for the same server: with the options that were given as flags.

    Options from files and from the environment are the same for the next command.
    """
    get_rank = getattr(getattr(reapi, "options", reapi), "get_rank", None)
    if get_rank is None:
        return labels
    given = {
        name: _flag(name, getattr(reapi, name))
        for name in _SERVER_OPTIONS
        if getattr(get_rank(name), "name", "") == "FLAG"
    }
    every = [given.pop("data_dir")] if "data_dir" in given else []
    shown = reapi.show if getattr(get_rank("show"), "name", "") == "FLAG" else ()
    return labels.with_flags(every, [*given.values(), *(_flag("show", path) for path in shown)])


def _flag(name: str, value: Any) -> str:
    option = f"reapi-{name.replace('_', '-')}"
    if isinstance(value, bool):
        return f"--{option}" if value else f"--no-{option}"
    return f"--{option}={_plain(value)}"


def is_own_server(reapi: Any) -> bool:
    """Whether the launcher finds, starts and stops the server, because it is this user's own."""
    return bool(reapi.address == AUTO)


def is_off(reapi: Any) -> bool:
    """Whether `mode` is off."""
    return _plain(reapi.mode) == OFF


def read_token(path: Optional[str]) -> Optional[str]:
    """The token in a file; None if no file is named. Raises LauncherError."""
    return token_file.read_token(path, LABELS.token_path)


def _plain(choice: Any) -> str:
    """The text of a choice; Pants passes the member of an enum."""
    return str(getattr(choice, "value", choice))
