"""The settings that the user asks for when a server is started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from reapi_contract import sandbox_levels
from reapi_contract.bounds import MAX_PORT, MAX_SLOTS, parse_seconds, parse_whole
from reapi_contract.sizes import parse_store_size
from reapi_local_launcher.labels import COMMAND_LINE, Labels
from reapi_local_launcher.launcher_error import LauncherError

_T = TypeVar("_T")


@dataclass(frozen=True)
class ServerSettings:
    """Settings of a server. A default leaves the choice to the launcher or to the server.

    `data_dir`: None for the user's cache directory. `port`: the port for gRPC; 0 for the one used
    last, else a free one. `max_size`: the limit of the store, like 20GiB; None for the limit used
    last, else the server's default. `instances`: the only instance names that the server accepts;
    empty for any. `idle_exit_s`: seconds without a call after which the server stops; 0 for
    never. `server_python`: the interpreter that must run the server. `slots`: the number of
    processes that run at once; 0 for one per core. `hermetic`: processes get no network.
    `sandbox`: one of `sandbox_levels.CHOICES`. `show`: paths that processes see in addition.
    """

    data_dir: str | None = None
    port: int = 0
    max_size: str | None = None
    instances: tuple[str, ...] = ()
    idle_exit_s: float = 0
    server_python: str | None = None
    slots: int = 0
    hermetic: bool = False
    sandbox: str = sandbox_levels.AUTO
    show: tuple[str, ...] = ()
    labels: Labels = COMMAND_LINE

    @property
    def max_size_bytes(self) -> int | None:
        """`max_size` in bytes. Raises LauncherError if the server would refuse it."""
        if self.max_size is None:
            return None
        text = self.max_size
        return _parsed(lambda: parse_store_size(text), self.labels.max_size)

    def check(self) -> None:
        """Raises LauncherError if the server would refuse one of the numbers."""
        _parsed(lambda: parse_whole(str(self.port), MAX_PORT), self.labels.port)
        _parsed(lambda: parse_whole(str(self.slots), MAX_SLOTS), self.labels.slots)
        _parsed(lambda: parse_seconds(str(self.idle_exit_s)), self.labels.idle_exit)
        _ = self.max_size_bytes


def _parsed(parse: Callable[[], _T], label: str) -> _T:
    try:
        return parse()
    except ValueError as error:
        raise LauncherError(
            "A setting of the server has a value that cannot be used.",
            f"{label}: {error}.",
            f"Correct {label}.",
        ) from error
