"""What the user asked for, and how the user calls it."""

from __future__ import annotations

from dataclasses import dataclass

from reapi_local_launcher.errors import LauncherError
from reapi_local_launcher.sizes import parse_size


@dataclass(frozen=True)
class Words:
    """How remedies name commands and settings; a caller that is no command line has its own."""

    up: str = "reapi-local up"
    down: str = "reapi-local down"
    kill: str = "reapi-local down --kill"
    check: str = "reapi-local check"
    data_dir: str = "--data-dir"
    port: str = "--port"
    max_size: str = "--max-size"
    server_python: str = "--server-python"
    address: str = "--address"
    token_path: str = "--token-path"


@dataclass(frozen=True)
class Settings:
    """Settings of a server to start. Defaults leave the choice to the launcher or the server.

    `data_dir`: None for the user's cache directory. `port`: of gRPC, 0 for the one used last, else
    a free one. `max_size`: like 20GiB; None for the limit used last, else the server's default.
    `instances`: the only instance names that exist; empty for any. `idle_exit_s`: stop after so
    many seconds without a call; 0 for never. `server_python`: the interpreter that must run the
    server. `slots`: processes it runs at once, 0 for as many as there are cores. `hermetic`: they
    get no network. `sandbox`: one of `execution.SANDBOXES`.
    """

    data_dir: str | None = None
    port: int = 0
    max_size: str | None = None
    instances: tuple[str, ...] = ()
    idle_exit_s: int = 0
    server_python: str | None = None
    slots: int = 0
    hermetic: bool = False
    sandbox: str = "auto"
    words: Words = Words()

    @property
    def max_size_bytes(self) -> int | None:
        """`max_size` in bytes. Raises LauncherError if it is not a size."""
        if self.max_size is None:
            return None
        try:
            return parse_size(self.max_size)
        except ValueError as error:
            raise LauncherError(
                "The size limit cannot be understood.",
                f"{error}.",
                f"Correct {self.words.max_size}.",
            ) from error
