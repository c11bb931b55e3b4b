"""The options of the plugin, in the scope `[reapi]`: options only."""

from __future__ import annotations

from enum import Enum

from pants.option.option_types import BoolOption, EnumOption, IntOption, StrOption
from pants.option.subsystem import Subsystem


class Mode(Enum):
    """What Pants uses the server for."""

    cache = "cache"
    off = "off"


class Sandbox(Enum):
    """How the server keeps the processes it runs apart."""

    auto = "auto"
    slots = "slots"
    bubblewrap = "bubblewrap"
    process_group = "process-group"


class ReapiSubsystem(Subsystem):
    options_scope = "reapi"
    help = (
        "The local Remote Execution API server: `reapi-up` starts it and makes Pants use it as a "
        "cache, `reapi-up --execution` makes it run the processes too, `reapi-check` proves that "
        "it works, `reapi-down` undoes all of it."
    )

    mode = EnumOption(
        default=Mode.cache,
        help=(
            "`cache`: read and write results of processes, and run them where `reapi-up "
            "--execution` was said. `off`: build as without the server."
        ),
    )
    address = StrOption(
        default="auto",
        help=(
            "`auto`: this user's own server, found by its state file. Else the address of a server "
            "that somebody else runs, like `grpc://cache.example:8980`; it is never started or "
            "stopped from here."
        ),
    )
    token_path = StrOption(
        default=None,
        help="File with the bearer token for a server given by `address`. Unset: no token is sent.",
    )
    instance = StrOption(
        default=None,
        help=(
            "The server's action cache to use. Unset: one of this repository's own, shared by all "
            "its git worktrees."
        ),
    )
    autostart = BoolOption(
        default=True,
        help=(
            "Start the server before a build when it isn't running, as after a reboot. It waits 2 "
            "seconds at most, 15 where the server runs the processes, and never installs "
            "anything; `reapi-up` does that."
        ),
    )
    data_dir = StrOption(
        default=None,
        help=(
            "Directory for blobs, results, token and log. There is one server per directory. "
            "Unset: `reapi-local/data` in the user's cache directory."
        ),
    )
    port = IntOption(
        default=0,
        help="Port of the server. 0: the one used last, else 8980, else one that is free.",
    )
    max_size = StrOption(
        default=None,
        help="What the server may take on disk, like 20GiB. Unset: what it had last, else 20GiB.",
    )
    idle_exit = IntOption(
        default=0,
        help="Seconds without a call after which the server stops by itself. 0: never.",
    )
    server_python = StrOption(
        default=None,
        help=(
            "Interpreter (CPython 3.11 or newer, with the server's requirements) that runs the "
            "server. Unset: one that is found to have them, else a private environment is made."
        ),
    )
    slots = IntOption(
        default=0,
        help="Processes the server runs at once. 0: as many as there are cores.",
    )
    hermetic = BoolOption(
        default=False,
        help=(
            "Give the processes that the server runs no network but loopback. Building a Python "
            "environment fetches from the package index, so do that first."
        ),
    )
    sandbox = EnumOption(
        default=Sandbox.auto,
        help=(
            "How the server keeps processes apart. `auto`: the strongest that works on this "
            "machine, `slots` or `bubblewrap`. `process-group`: not at all, they may read and "
            "write whatever you may; only for processes that you trust."
        ),
    )
