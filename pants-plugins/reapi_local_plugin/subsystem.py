"""The options of the plugin, in the scope `[reapi]`: options only."""

from __future__ import annotations

from enum import Enum

from pants.option.option_types import BoolOption, EnumOption, IntOption, StrListOption, StrOption
from pants.option.subsystem import Subsystem

from reapi_contract import sandbox_levels
from reapi_contract.bounds import DEFAULT_PORT
from reapi_contract.command_line import NEEDED_PYTHON
from reapi_contract.sizes import DEFAULT_STORE_SIZE
from reapi_local_plugin import options as own_options


class Mode(Enum):
    """What Pants uses the server for."""

    cache = "cache"
    off = own_options.OFF


class SandboxLevel(Enum):
    """How the server isolates the processes that it runs."""

    auto = sandbox_levels.AUTO
    slots = sandbox_levels.SLOTS
    bubblewrap = sandbox_levels.BUBBLEWRAP
    process_group = sandbox_levels.PROCESS_GROUP


class ReapiSubsystem(Subsystem):
    options_scope = "reapi"
    help = (
        "The local Remote Execution API server: `reapi-up` starts it and makes Pants use it as a "
        "cache, `reapi-up --execution` makes it run the processes too, `reapi-check` proves that "
        "it works, `reapi-down` undoes all of that."
    )

    mode = EnumOption(
        default=Mode.cache,
        help=(
            "`cache`: read and write results of processes, and after `reapi-up --execution` run "
            "them on the server. `off`: build without the server."
        ),
    )
    address = StrOption(
        default=own_options.AUTO,
        help=(
            "`auto`: this user's own server. Otherwise the address of a server "
            "that somebody else runs, like `grpc://cache.example:8980`; Pants never starts or "
            "stops that one."
        ),
    )
    token_path = StrOption(
        default=None,
        help="File with the bearer token for a server given by `address`. Unset: no token is sent.",
    )
    instance = StrOption(
        default=None,
        help=(
            "The name of the action cache on the server. Unset: one for this repository, which all "
            "its git worktrees share."
        ),
    )
    autostart = BoolOption(
        default=True,
        help=(
            "Start the server before a build when it isn't running, as after a reboot. It waits "
            "up to 30 seconds for a server that really starts, and never installs anything; "
            "`reapi-up` does that."
        ),
    )
    report = BoolOption(
        default=True,
        help=(
            "Tell this user's own server of each process of a build, so that `reapi-explain` can "
            "say why it ran. Values that look like secrets are masked first."
        ),
    )
    report_inputs = BoolOption(
        default=True,
        help=(
            "Also tell the server the names and digests of the input files of processes that ran, "
            "so that `reapi-explain` can name the file that changed. Contents are never sent."
        ),
    )
    summary = BoolOption(
        default=True,
        help="After a build, say in one line how much came from the cache.",
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
        help=f"Port of the server. 0: the last one, else {DEFAULT_PORT}, else a free one.",
    )
    max_size = StrOption(
        default=None,
        help=(
            "How much disk the store may use, like 50GiB. Unset: the last limit, else "
            f"{DEFAULT_STORE_SIZE}."
        ),
    )
    idle_exit = IntOption(
        default=0,
        help="Seconds without a call after which the server stops. 0: never.",
    )
    server_python = StrOption(
        default=None,
        help=(
            f"The interpreter that runs the server: {NEEDED_PYTHON}, with the server's "
            "requirements. Unset: one that has them is found, or a private environment is made."
        ),
    )
    slots = IntOption(
        default=0,
        help="The number of processes that the server runs at once. 0: one per core.",
    )
    hermetic = BoolOption(
        default=False,
        help=(
            "Processes that the server runs have no network but loopback. A Python environment is "
            "built from a package index, so build it before you turn this on."
        ),
    )
    sandbox = EnumOption(
        default=SandboxLevel.auto,
        help=(
            "How the server isolates processes. `auto`: the strongest sandbox that works on this "
            "machine, `slots` or `bubblewrap`. `process-group` isolates nothing: processes can "
            "read and write everything that you can, so use it only if you trust them."
        ),
    )
    show = StrListOption(
        default=[],
        help=(
            "Files and directories that processes on the server see, read-only, although they are "
            "in a home, or in /tmp, /var/tmp or /run; such as `~/tools`. They see this repository "
            "and the usual places of toolchains anyway."
        ),
    )
