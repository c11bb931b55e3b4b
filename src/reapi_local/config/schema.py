"""Every setting of the server: its type, bounds, default and description.

Flags, variables, the settings file and the reference page are made from these classes. To add a
setting, add a field. To add a section, add a class and a field of :class:`Config`. Names are unique
over all sections, because flags and variables don't name the section. A setting that the launcher
passes on is also in ``setting_names.py`` of the contract, ``server_flags.py`` of the launcher and
``subsystem.py`` of the plugin.

Sizes are in bytes, times in seconds. Each field has exactly one kind and one description.
"""

# No postponed annotations here: evaluating them costs 2 ms at each start.
from typing import Annotated, Final, Literal, TypeAlias, get_args

from msgspec import Meta, Struct

from reapi_contract import sandbox_levels
from reapi_contract.bounds import DEFAULT_PORT, MAX_PORT, MAX_SECONDS, MAX_SLOTS
from reapi_contract.sizes import (
    DEFAULT_STORE_SIZE,
    MAX_BYTES,
    MIN_STORE_BYTES,
    parse_store_size,
)
from reapi_local.config.kinds import (
    ADDRESS,
    COUNT,
    DIRECTORY,
    FILE,
    NAMES,
    PATHS,
    SECONDS,
    SIZE,
    SWITCH,
    one_of,
)

MAX_INODES: Final = 1_000_000_000
MAX_PROCESSES: Final = 4_194_304
"""The kernel's largest process id."""

_MIB: Final = 1024**2
_GIB: Final = 1024**3

MIN_IN_FLIGHT_BYTES: Final = 128 * _MIB
"""Several batches of the size in Capabilities, while they are decoded, and some reads."""

Transport: TypeAlias = Literal["auto", "native", "grpcio"]
Sync: TypeAlias = Literal["full", "relaxed"]
Availability: TypeAlias = Literal["auto", "on", "off"]
OtherPlatforms: TypeAlias = Literal["refuse", "run"]
Switch: TypeAlias = Literal["on", "off"]
LogFormat: TypeAlias = Literal["text", "json"]
Authentication: TypeAlias = Literal["token", "none"]
Anonymous: TypeAlias = Literal["read", "write"]

Size: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_BYTES), SIZE]
StoreSize: TypeAlias = Annotated[int, Meta(ge=MIN_STORE_BYTES, le=MAX_BYTES), SIZE]
Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=MAX_SECONDS), SECONDS]


class ListenConfig(Struct, frozen=True):
    """Where the server listens, and when it stops."""

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
            description="The gRPC implementation: `native` (pygrpc-native), `grpcio`, or `auto`: "
            "native if it is installed, `host` is loopback, there is no `tls_cert`, `auth` is "
            "`token`, and unix sockets can be made in the data directory. With native, the "
            "token can't be the password of HTTP Basic, and health checks need the token too."
        ),
    ] = "auto"
    tls_cert: Annotated[
        str,
        Meta(min_length=1),
        FILE,
        Meta(
            description="The server's certificate in PEM, followed by those of its authorities. "
            "With it every connection is encrypted. It is read again when it changes."
        ),
    ] = ""
    tls_key: Annotated[
        str, Meta(min_length=1), FILE, Meta(description="The key of `tls_cert`, in PEM.")
    ] = ""
    tls_client_ca: Annotated[
        str,
        Meta(min_length=1),
        FILE,
        Meta(
            description="Certificates of authorities, in PEM. With it every client needs a "
            "certificate that one of them signed, and needs no token."
        ),
    ] = ""
    idle_exit: Annotated[
        Seconds,
        Meta(description="The server stops after this time without a call. 0: never."),
    ] = 0.0

    in_flight: Annotated[
        int,
        Meta(ge=MIN_IN_FLIGHT_BYTES, le=MAX_BYTES),
        SIZE,
        Meta(
            description="The most memory for requests, uploads and answers that are under way, in "
            "addition to what the server takes when it is idle. Beyond three quarters of it, "
            "large messages are refused with RESOURCE_EXHAUSTED. Near its end, the connections "
            "that hold most are closed."
        ),
    ] = _GIB


class StoreConfig(Struct, frozen=True):
    """How much is stored, for how long, and how safely."""

    max_size: Annotated[
        StoreSize,
        Meta(description="The largest size of the store on disk, index pages included."),
    ] = parse_store_size(DEFAULT_STORE_SIZE)
    min_free: Annotated[
        Size, Meta(description="The space that the store leaves free on its file system.")
    ] = 256 * _MIB
    lease: Annotated[
        Seconds,
        Meta(
            description="How long after an invocation's last call the blobs that it uses are "
            "protected from deletion."
        ),
    ] = 3600.0
    sync: Annotated[
        Sync,
        one_of(*get_args(Sync)),
        Meta(
            description="`full`: acknowledged writes survive a power loss. `relaxed`: faster, but "
            "after a crash, every generation that was written to since the start is discarded."
        ),
    ] = "full"


class ExecuteConfig(Struct, frozen=True):
    """Whether and how actions are executed."""

    execution: Annotated[
        Availability,
        one_of(*get_args(Availability)),
        Meta(
            description="Whether actions are executed. `auto`: if `host` is loopback and a "
            "sandbox works. `on`: always; if no sandbox works, the server doesn't start. "
            "`off`: never."
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
        Meta(description="How many actions are executed at once. 0: one for each core."),
    ] = 0
    hermetic: Annotated[
        bool,
        SWITCH,
        Meta(description="No action gets the network, even if it asks for it. Loopback works."),
    ] = False
    show: Annotated[
        tuple[str, ...],
        PATHS,
        Meta(
            description="Files and directories that actions see, read-only, although they are in a "
            "home, or in `/tmp`, `/var/tmp` or `/run`; such as `~/tools`. A whole home can't be "
            "shown. In the variable, a colon is between paths."
        ),
    ] = ()
    other_platforms: Annotated[
        OtherPlatforms,
        one_of(*get_args(OtherPlatforms)),
        Meta(
            description="What happens to an action whose platform properties ask for another "
            "operating system or processor than this machine's: `refuse`, or `run` it here."
        ),
    ] = "refuse"
    action_timeout: Annotated[
        Seconds, Meta(description="The timeout of an action that sets none.")
    ] = 3600.0
    max_action_timeout: Annotated[
        Seconds,
        Meta(
            description="The longest timeout that an action may set. An action that sets a longer "
            "one is refused."
        ),
    ] = 86400.0
    watch_grace: Annotated[
        Seconds,
        Meta(description="How long an action continues when no client waits for it."),
    ] = 10.0
    input_cache: Annotated[
        StoreSize,
        Meta(
            description="The size on disk of cached directory trees of inputs, in addition to "
            "`max_size`. Trees in use may exceed it."
        ),
    ] = 4 * _GIB
    named_caches: Annotated[
        StoreSize,
        Meta(
            description="The size on disk of the named caches of Pants, in addition to `max_size`. "
            "When they exceed it, the caches of the instances that were used longest ago are "
            "deleted, as soon as no action runs with them."
        ),
    ] = 10 * _GIB


class LimitsConfig(Struct, frozen=True):
    """What one action may use."""

    scratch_size: Annotated[
        Size,
        Meta(
            description="How much an action may write: below its input root, at home, in `/tmp`, "
            "to standard output and error. It is held in memory (and swap). 0: half of the memory "
            "divided by the largest number of actions that can exist at once, at most 16GiB."
        ),
    ] = 0
    scratch_inodes: Annotated[
        int,
        Meta(ge=0, le=MAX_INODES),
        COUNT,
        Meta(description="How many files and directories an action may create. 0: no limit."),
    ] = 1_000_000
    action_memory: Annotated[
        Size,
        Meta(
            description="The memory of all processes of an action together, including what it "
            "writes. 0: no limit. Needs a control group of the server's own."
        ),
    ] = 0
    action_processes: Annotated[
        int,
        Meta(ge=0, le=MAX_PROCESSES),
        COUNT,
        Meta(description="How many processes and threads an action may have at once. 0: no limit."),
    ] = 4096
    action_cpu_seconds: Annotated[
        int,
        Meta(ge=0, le=int(MAX_SECONDS)),
        COUNT,
        Meta(description="The CPU time of all processes of an action, in seconds. 0: no limit."),
    ] = 0
    action_file_size: Annotated[
        Size, Meta(description="The largest file that an action may write. 0: no limit.")
    ] = 0


class AccessConfig(Struct, frozen=True):
    """Who is served."""

    auth: Annotated[
        Authentication,
        one_of(*get_args(Authentication)),
        Meta(
            description="`token`: every call needs the token. `none`: calls without a token may do "
            "what `anonymous` says; only on loopback, and only with `execution` off or `hermetic`."
        ),
    ] = "token"
    anonymous: Annotated[
        Anonymous,
        one_of(*get_args(Anonymous)),
        Meta(
            description="What calls without a token may do with `auth` none: `read` the cache, or "
            "`write` it too."
        ),
    ] = "read"

    instances: Annotated[
        tuple[str, ...],
        NAMES,
        Meta(
            description="The names of the instances that are served. By default every name is "
            "served, and its instance is created at the first use."
        ),
    ] = ()


class HistoryConfig(Struct, frozen=True):
    """What is remembered about runs, look-ups and results."""

    journal: Annotated[
        Switch,
        one_of(*get_args(Switch)),
        Meta(
            description="`on`: runs, look-ups, results and reports of the plugin are kept in the "
            "data directory. `off`: nothing is kept but counts of the last runs, in memory."
        ),
    ] = "on"
    journal_size: Annotated[
        StoreSize,
        Meta(
            description="The largest size of the journal on disk, in addition to `max_size`. The "
            "oldest details are deleted first, and the sums of runs and days last."
        ),
    ] = 512 * _MIB
    journal_age: Annotated[
        Seconds,
        Meta(description="How long the journal keeps what happened. 0: without limit."),
    ] = 365.0 * 86400


class LogConfig(Struct, frozen=True):
    """How the server writes its log, to standard error."""

    log_format: Annotated[
        LogFormat,
        one_of(*get_args(LogFormat)),
        Meta(description="`text`: lines for people. `json`: one JSON object per line."),
    ] = "text"


class Config(Struct, frozen=True, kw_only=True):
    """All settings. A setting without a section is at the top of the settings file."""

    data_dir: Annotated[
        str,
        Meta(min_length=1),
        DIRECTORY,
        Meta(
            description="The directory of blobs, results, token and state. Must be set. It is "
            "created with mode 0700. It must belong to the user that the server runs as, also if "
            "that is root, and nobody else may write in it."
        ),
    ]
    listen: ListenConfig = ListenConfig()
    store: StoreConfig = StoreConfig()
    execute: ExecuteConfig = ExecuteConfig()
    limits: LimitsConfig = LimitsConfig()
    access: AccessConfig = AccessConfig()
    history: HistoryConfig = HistoryConfig()
    log: LogConfig = LogConfig()
