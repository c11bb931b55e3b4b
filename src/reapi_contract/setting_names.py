"""How one setting is called in each place: `max_size`, `--max-size`, `REAPI_LOCAL_MAX_SIZE`."""

from __future__ import annotations

ENVIRONMENT_PREFIX = "REAPI_LOCAL_"


def flag(name: str) -> str:
    """The command-line flag of a setting."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return ENVIRONMENT_PREFIX + name.upper()
