"""Every setting of the server: its type, bounds, default and meaning, said here and nowhere else.

Flags, variables, the settings file and the reference page are made from these classes. A setting
more is a field more; a section more is a class and a field of :class:`Config`. Names are unique
over all sections, because flags and variables don't name the section.

Sizes are in bytes, times in seconds. Each field has exactly one kind and one description.
"""

# No postponed annotations in here: evaluating them later costs each start 2 ms.
from typing import Annotated, Final, Literal, TypeAlias, get_args

from msgspec import Meta, Struct

from reapi_contract import sandbox_levels
from reapi_contract.bounds import DEFAULT_PORT, MAX_PORT, MAX_SECONDS, MAX_SLOTS
from reapi_contract.sizes import MAX_BYTES, MIN_STORE_BYTES
from reapi_local.config.kinds import (
    ADDRESS,
    COUNT,
    DIRECTORY,
    NAMES,
    SECONDS,
    SIZE,
    SWITCH,
    one_of,
)

MAX_INODES: Final = 1_000_000_000
MAX_PROCESSES: Final = 4_194_304
"""The kernel has no larger process ids."""

_MIB: Final = 1024**2
_GIB: Final = 1024**3

Transport: TypeAlias = Literal["auto", "native", "grpcio"]
Sync: TypeAlias = Literal["full", "relaxed"]
Availability: TypeAlias = Literal["auto", "on", "off"]
LogFormat: TypeAlias = Literal["text", "json"]

Size: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_BYTES), SIZE]
StoreSize: TypeAlias = Annotated[int, Meta(ge=MIN_STORE_BYTES, le=MAX_BYTES), SIZE]
Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=MAX_SECONDS), SECONDS]


class ListenConfig(Struct, frozen=True):
    """Where the server listens, and for how long."""

    host: Annotated[
        str, Meta(min_length=1), ADDRESS, Meta(description="The address to listen on.")
    ] = "127.0.0.1"
    port: Annotated[
        int,
        Meta(ge=0, le=MAX_PORT),
        COUNT,
        Meta(description=f"The gRPC port. 0: the last one, else {DEFAULT_PORT}, else a free one."),
    ] = 0
    transport: Annotated[
        Transport,
        one_of(*get_args(Transport)),
        Meta(
            description="What carries gRPC: `native` (pygrpc-native), `grpcio`, or `auto`: native "
            "where it is installed and `host` is loopback."
        ),
    ] = "auto"
    idle_exit: Annotated[
        Seconds,
        Meta(description="The server stops after so many seconds without a call. 0: never."),
    ] = 0.0


class StoreConfig(Struct, frozen=True):
    """How much is kept, for how long, and how safely."""

    max_size: Annotated[
        StoreSize,
        Meta(description="What the store may take on disk, index pages included."),
    ] = 20 * _GIB
    min_free: Annotated[
        Size, Meta(description="What is left free on the file system for others.")
    ] = 256 * _MIB
    lease: Annotated[
        Seconds,
        Meta(
            description="A run may be silent for so many seconds. Until then nothing is deleted "
            "that it was told is there."
        ),
    ] = 3600.0
    sync: Annotated[
        Sync,
        one_of(*get_args(Sync)),
        Meta(
            description="`full`: what was acknowledged survives a power loss. `relaxed`: faster, "
            "but what wasn't closed in good order is dropped."
        ),
    ] = "full"


class ExecuteConfig(Struct, frozen=True):
    """Whether and how actions are executed."""

    execution: Annotated[
        Availability,
        one_of(*get_args(Availability)),
        Meta(
            description="Whether actions are executed. `auto`: where `host` is loopback and a "
            "sandbox works. `on`: always; the server doesn't start where it can't. `off`: never."
        ),
    ] = "auto"
    sandbox: Annotated[
        str,
        one_of(*sandbox_levels.CHOICES),
        Meta(
            description="How actions are isolated: `slots`, `bubblewrap`, or `auto`, the strongest "
            "that works. `process-group` isolates nothing, and is used only if it is named."
        ),
    ] = sandbox_levels.AUTO
    slots: Annotated[
        int,
        Meta(ge=0, le=MAX_SLOTS),
        COUNT,
        Meta(description="How many actions are executed at once. 0: as many as there are cores."),
    ] = 0
    hermetic: Annotated[
        bool,
        SWITCH,
        Meta(description="No action gets the network, whoever asks. Loopback stays."),
    ] = False
    action_timeout: Annotated[
        Seconds, Meta(description="The timeout of an action that brings none.")
    ] = 3600.0
    max_action_timeout: Annotated[
        Seconds,
        Meta(
            description="The longest timeout that an action may ask for. One that asks for more is "
            "refused."
        ),
    ] = 86400.0
    watch_grace: Annotated[
        Seconds,
        Meta(description="How long an action goes on when no client waits for it any more."),
    ] = 10.0
    input_cache: Annotated[
        StoreSize,
        Meta(
            description="What directory trees of inputs may take on disk, beside `max_size`. Those "
            "in use may exceed it."
        ),
    ] = 4 * _GIB


class LimitsConfig(Struct, frozen=True):
    """What one action may use."""

    scratch_size: Annotated[
        Size,
        Meta(
            description="What an action may write: below its input root, at home, in `/tmp`, to "
            "standard output and error. It is held in memory (and swap). 0: all actions that there "
            "may be at a time can fill half the memory together, each 16GiB at most."
        ),
    ] = 0
    scratch_inodes: Annotated[
        int,
        Meta(ge=0, le=MAX_INODES),
        COUNT,
        Meta(description="How many files and directories an action may make. 0: no limit."),
    ] = 1_000_000
    action_memory: Annotated[
        Size,
        Meta(
            description="The memory of all processes of an action together, what it writes "
            "included. 0: no limit. Takes a control group of the server's own."
        ),
    ] = 0
    action_processes: Annotated[
        int,
        Meta(ge=0, le=MAX_PROCESSES),
        COUNT,
        Meta(description="How many processes and threads it may have at once. 0: no limit."),
    ] = 4096
    action_cpu_seconds: Annotated[
        int,
        Meta(ge=0, le=int(MAX_SECONDS)),
        COUNT,
        Meta(description="The CPU time of all its processes together, in seconds. 0: no limit."),
    ] = 0
    action_file_size: Annotated[
        Size, Meta(description="The largest file that it may write. 0: no limit.")
    ] = 0


class AccessConfig(Struct, frozen=True):
    """Who is served."""

    instances: Annotated[
        tuple[str, ...],
        NAMES,
        Meta(
            description="The names of the only instances that are served. By default any is, and "
            "made when it is first used."
        ),
    ] = ()


class LogConfig(Struct, frozen=True):
    """How the server writes its log, to standard error."""

    log_format: Annotated[
        LogFormat,
        one_of(*get_args(LogFormat)),
        Meta(description="`text`: lines for people. `json`: one JSON object a line."),
    ] = "text"


class Config(Struct, frozen=True, kw_only=True):
    """All settings. What is not in a section is at the top of the settings file."""

    data_dir: Annotated[
        str,
        Meta(min_length=1),
        DIRECTORY,
        Meta(
            description="Where blobs, results, token and state are kept. Has to be set. It is made "
            "with mode 0700."
        ),
    ]
    listen: ListenConfig = ListenConfig()
    store: StoreConfig = StoreConfig()
    execute: ExecuteConfig = ExecuteConfig()
    limits: LimitsConfig = LimitsConfig()
    access: AccessConfig = AccessConfig()
    log: LogConfig = LogConfig()
