"""Settings of the server: command line over environment over file over default.

The same names everywhere: ``max_size`` in the TOML file, ``--max-size`` on the command line,
``REAPI_LOCAL_MAX_SIZE`` in the environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, Final, Literal, TypeAlias

from reapi_local.errors import InvalidRequest
from reapi_local.protocol.instance import check_instance_name

Transport: TypeAlias = Literal["auto", "native", "grpcio"]
"""What carries gRPC; ``auto`` = native where it is installed."""

Offer: TypeAlias = Literal["auto", "on", "off"]
"""Whether actions are executed; ``auto`` = on loopback, where a sandbox works."""

ENVIRONMENT: Final = "environment"
ENVIRONMENT_PREFIX: Final = "REAPI_LOCAL_"
_UNITS: Final = {"": 1, "B": 1} | {
    unit: base**power
    for power, letter in enumerate("KMGT", start=1)
    for unit, base in ((letter, 1000), (f"{letter}B", 1000), (f"{letter}IB", 1024))
}


_MAX_BYTES: Final = 4 * 1024**4
"""The store maps several times its size, and processors give a process 128 TiB."""


class ConfigError(Exception):
    """Settings that can't be used; the message lists every problem, one a line."""


@dataclass(frozen=True)
class ExecutionConfig:
    """How actions are executed. Sizes in bytes, times in seconds.

    ``sandbox`` auto = the strongest that works. ``slots``: actions at once, 0 = one per core.
    ``hermetic``: no action gets the network. ``action_timeout`` is for actions that bring none,
    ``max_action_timeout`` the most they may ask for. ``watch_grace``: how long an action goes on
    when nobody waits for it any more.
    """

    execution: Offer = "auto"
    sandbox: str = "auto"
    slots: int = 0
    hermetic: bool = False
    action_timeout: float = 3600.0
    max_action_timeout: float = 86400.0
    watch_grace: float = 10.0
    input_cache: int = 4 * 1024**3


@dataclass(frozen=True)
class LimitsConfig:
    """What one action may use; sizes in bytes. 0 = as much as there is, but for the scratch space,
    where it is a share of the memory.
    """

    scratch_size: int = 0
    scratch_inodes: int = 1_000_000
    action_memory: int = 0
    action_processes: int = 4096
    action_cpu_seconds: int = 0
    action_file_size: int = 0


@dataclass(frozen=True)
class Config:
    """What ``serve`` needs to know. Sizes in bytes, times in seconds.

    ``port`` 0 = the one used last, else 8980, else any. ``instances`` empty = made on first use.
    ``idle_exit`` 0 = never. ``sync`` relaxed = faster, and a power loss costs the newest part.
    ``execution`` and ``limits`` hold settings with names of their own, on the same level.
    """

    data_dir: str
    host: str = "127.0.0.1"
    port: int = 0
    max_size: int = 20 * 1024**3
    min_free: int = 256 * 1024**2
    lease: float = 3600.0
    instances: tuple[str, ...] = ()
    idle_exit: float = 0.0
    sync: str = "full"
    transport: Transport = "auto"
    execution: ExecutionConfig = ExecutionConfig()
    limits: LimitsConfig = LimitsConfig()


def parse_size(text: str) -> int:
    """Bytes from ``20GiB``, ``500MB`` or a plain number.

    Raises:
        ValueError: it is none of these; the message says what is.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    factor = _UNITS.get(match[2].upper()) if match else None
    if match is None or factor is None:
        raise ValueError(f"{text!r} isn't a size; write 20GiB, 500MB or a number of bytes")
    size = float(match[1]) * factor
    if size > _MAX_BYTES:
        raise ValueError(f"{text!r} is too much; at most 4TiB")
    return int(size)


def _size(value: Any) -> int:
    size = parse_size(str(value))
    if size < 1024**2:
        raise ValueError(f"{value!r} is too little; at least 1MiB")
    return size


def _free(value: Any) -> int:
    return parse_size(str(value))


def _seconds(value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{value!r} isn't a number of seconds") from None
    if not 0 <= seconds < 1e9:
        raise ValueError(f"{value!r} isn't a usable number of seconds")
    return seconds


def _count(most: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        if isinstance(value, bool) or not re.fullmatch("[0-9]{1,15}", str(value)):
            raise ValueError(f"{value!r} isn't a number")
        if int(value) > most:
            raise ValueError(f"{value!r} is too much; at most {most}")
        return int(value)

    return parse


def _switch(value: Any) -> bool:
    try:
        return {"true": True, "1": True, "false": False, "0": False}[str(value).lower()]
    except KeyError:
        raise ValueError(f"{value!r} isn't true or false") from None


def _port(value: Any) -> int:
    if not str(value).isdigit() or not 0 <= int(value) <= 65535:
        raise ValueError(f"{value!r} isn't a port; 0 to 65535, 0 = find one")
    return int(value)


def _names(value: Any) -> tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{value!r} isn't a list of instance names")
    try:
        return tuple(check_instance_name(name) for name in names)
    except InvalidRequest as error:
        raise ValueError(str(error)) from None


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} isn't a text")
    return value


def _path(value: Any) -> str:
    return os.path.abspath(os.path.expanduser(_text(value)))


def _one_of(*choices: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"{value!r} isn't one of {', '.join(choices)}")
        return str(value)

    return parse


_PARSERS: Final[dict[str, Callable[[Any], Any]]] = {
    "data_dir": _path,
    "host": _text,
    "port": _port,
    "max_size": _size,
    "min_free": _free,
    "lease": _seconds,
    "instances": _names,
    "idle_exit": _seconds,
    "sync": _one_of("full", "relaxed"),
    "transport": _one_of("auto", "native", "grpcio"),
    "execution": _one_of("auto", "on", "off"),
    "sandbox": _one_of("auto", "slots", "bubblewrap", "process-group"),
    "slots": _count(1024),
    "hermetic": _switch,
    "action_timeout": _seconds,
    "max_action_timeout": _seconds,
    "watch_grace": _seconds,
    "input_cache": _size,
    "scratch_size": _free,
    "scratch_inodes": _count(1_000_000_000),
    "action_memory": _free,
    "action_processes": _count(4_194_304),
    "action_cpu_seconds": _count(10**9),
    "action_file_size": _free,
}
SETTINGS: Final = tuple(_PARSERS)
"""The names of all settings."""

_PARTS: Final = {"execution": ExecutionConfig, "limits": LimitsConfig}


def parse_config(*sources: tuple[str, Mapping[str, Any]]) -> Config:
    """The settings from several sources, the strongest first, each with a name for messages.

    Those of the source ``ENVIRONMENT`` are called there by their variables.

    Raises:
        ConfigError: unknown names or unusable values, all of them at once.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for source, given in sources:
        for name, value in given.items():
            written = f"{source}: {_as_written(source, name)}"
            parse = _PARSERS.get(name)
            if parse is None:
                problems.append(f"{written} isn't a setting; known: {', '.join(_PARSERS)}")
                continue
            try:
                parsed = parse(value)
            except ValueError as error:
                problems.append(f"{written}: {error}")
            else:
                values.setdefault(name, parsed)
    if "data_dir" not in values and not problems:
        problems.append("data_dir isn't set; say where to keep the data with --data-dir")
    if problems:
        raise ConfigError("\n".join(problems))
    for part, kind in _PARTS.items():
        own = {field.name: values.pop(field.name) for field in fields(kind) if field.name in values}
        values[part] = kind(**own)
    return Config(**values)


def from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings given as ``REAPI_LOCAL_…`` variables; others of that prefix aren't ours."""
    names = {ENVIRONMENT_PREFIX + name.upper(): name for name in SETTINGS}
    return {names[variable]: value for variable, value in environment.items() if variable in names}


def misspelt(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that look like a setting's and are none, each with the one that was meant."""
    names = [ENVIRONMENT_PREFIX + name.upper() for name in SETTINGS]
    others = [v for v in environment if v.startswith(ENVIRONMENT_PREFIX) and v not in names]
    meant = {variable: get_close_matches(variable, names, n=1, cutoff=0.9) for variable in others}
    return {variable: found[0] for variable, found in meant.items() if found}


def _as_written(source: str, name: str) -> str:
    return ENVIRONMENT_PREFIX + name.upper() if source == ENVIRONMENT else name
