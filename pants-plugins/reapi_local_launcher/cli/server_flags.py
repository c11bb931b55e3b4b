"""The flags of `reapi-local serve` and `up` that are settings of the server."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeVar

from reapi_contract import sandbox_levels, setting_names
from reapi_contract.bounds import DEFAULT_PORT, MAX_PORT, MAX_SLOTS, parse_seconds, parse_whole
from reapi_contract.setting_names import flag, repeated_flag
from reapi_contract.sizes import DEFAULT_STORE_SIZE, parse_store_size
from reapi_local_launcher.cli.parser import Parser

_T = TypeVar("_T")


def add_server_flags(parser: Parser) -> None:
    add = parser.add_argument
    add(
        flag(setting_names.PORT),
        type=checked(lambda text: parse_whole(text, MAX_PORT)),
        default=0,
        metavar="PORT",
        help=f"port for gRPC (default: the last one, else {DEFAULT_PORT}, else a free one)",
    )
    add(
        flag(setting_names.MAX_SIZE),
        type=_store_size,
        metavar="SIZE",
        help="limit of the store on disk, like 50GiB or 500MB "
        f"(default: {DEFAULT_STORE_SIZE}; for up, the last one)",
    )
    add(
        repeated_flag(setting_names.INSTANCES),
        dest="instances",
        action="append",
        metavar="NAME",
        help="allow this instance name; repeat it for more (default: any name)",
    )
    add(
        flag(setting_names.IDLE_EXIT),
        type=checked(parse_seconds),
        default=0,
        metavar="SECONDS",
        help="stop after this time without a call (default: never)",
    )
    add(
        flag(setting_names.SLOTS),
        type=checked(lambda text: parse_whole(text, MAX_SLOTS)),
        default=0,
        metavar="N",
        help="number of processes that run at once (default: one per core)",
    )
    add(
        flag(setting_names.HERMETIC),
        action="store_true",
        help="give the processes that it runs no network",
    )
    add(
        flag(setting_names.SANDBOX),
        choices=sandbox_levels.CHOICES,
        default=sandbox_levels.AUTO,
        help="how processes are isolated (default: the strongest way that works here); "
        "process-group isolates nothing",
    )
    _add_show(parser)


def _add_show(parser: Parser) -> None:
    parser.add_argument(
        repeated_flag(setting_names.SHOW),
        action="append",
        metavar="PATH",
        help="let processes see this path of a home or of /tmp; repeat it for more",
    )


def checked(parse: Callable[[str], _T]) -> Callable[[str], _T]:
    """An argument type that refuses what `parse` refuses, with its message."""

    def convert(text: str) -> _T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return convert


def _store_size(text: str) -> str:
    """The text of a size that the server accepts."""
    checked(parse_store_size)(text)
    return text
