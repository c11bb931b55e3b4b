"""The names of a setting in each place: `max_size`, `--max-size`, `REAPI_LOCAL_MAX_SIZE`."""

from __future__ import annotations

ENVIRONMENT_PREFIX = "REAPI_LOCAL_"
CONFIG_FLAG = "--config"
"""Names the TOML file with settings; it is a flag only."""

# The settings that a launcher passes on. The server has more of them.
DATA_DIR = "data_dir"
HOST = "host"
PORT = "port"
MAX_SIZE = "max_size"
INSTANCES = "instances"
IDLE_EXIT = "idle_exit"
SLOTS = "slots"
HERMETIC = "hermetic"
SANDBOX = "sandbox"
SHOW = "show"


def flag(name: str) -> str:
    """The command-line flag of a setting that has one value."""
    return "--" + name.replace("_", "-")


def repeated_flag(name: str) -> str:
    """The flag of a setting that has several values. It names one of them, and is repeated."""
    return flag(name.removesuffix("s"))


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return ENVIRONMENT_PREFIX + name.upper()
