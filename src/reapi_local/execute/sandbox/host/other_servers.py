"""Finds the data directories of the reapi-local servers that run on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from reapi_contract.command_line import MODULE
from reapi_contract.data_dir import SERVER_LOCK

_PROC: Final = "/proc"


def data_directories_of_servers() -> Iterator[str]:
    """Those of this user's servers, and for root of everybody's, wherever they are.

    A running server has the lock in its data directory open. Where there is no /proc, none is
    found.
    """
    try:
        pids = [name for name in os.listdir(_PROC) if name.isdecimal()]
    except OSError:
        return
    for pid in pids:
        try:
            if _is_server(pid):
                yield from _locked_directories(pid)
        except OSError:  # it has ended, or belongs to another user
            continue


def _is_server(pid: str) -> bool:
    with open(f"{_PROC}/{pid}/cmdline", "rb") as file:
        return MODULE.encode() in file.read().split(b"\0")


def _locked_directories(pid: str) -> Iterator[str]:
    for name in os.listdir(f"{_PROC}/{pid}/fd"):
        descriptor = f"{_PROC}/{pid}/fd/{name}"
        path = os.readlink(descriptor)
        # An action may pretend to be a server. But its paths aren't those of the host.
        if os.path.basename(path) == SERVER_LOCK and os.path.samefile(descriptor, path):
            yield os.path.dirname(path)
