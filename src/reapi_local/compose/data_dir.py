"""The data directory belongs to one server at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from typing import IO, Final

from reapi_contract import ready_line
from reapi_contract.data_dir import SERVER_LOCK
from reapi_contract.ownership import distrust
from reapi_contract.server_lock import write_holder
from reapi_contract.setting_names import DATA_DIR, flag
from reapi_local.compose.cannot_start import CannotStart

_LOCK_ATTEMPTS: Final = 5
_LOCK_PAUSE_SECONDS: Final = 0.02


@contextlib.contextmanager
def owned(data_dir: str) -> Iterator[None]:
    """Lock the data directory, so that only one server at a time uses it.

    Raises:
        CannotStart: another server uses it, or it can't be used or trusted.
    """
    try:
        os.makedirs(data_dir, mode=0o700, exist_ok=True)
        if wrong := distrust(data_dir):
            remedy = wrong.remedy(flag(DATA_DIR))
            raise CannotStart(ready_line.DATA_DIR_UNUSABLE, str(wrong), remedy)
        lock = _opened(os.path.join(data_dir, SERVER_LOCK))
    except (OSError, ValueError) as error:
        raise unusable(data_dir, error) from error
    with lock:
        if not _locked(lock):
            raise CannotStart(
                ready_line.DATA_DIR_IN_USE,
                f"another server runs on {data_dir}",
                f"use that one, stop it with `reapi-local down --data-dir {data_dir}`, or choose "
                "another --data-dir",
            )
        write_holder(lock)
        yield


def _opened(path: str) -> IO[str]:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return open(os.open(path, flags, 0o600), "a", encoding="ascii")


def _locked(lock: IO[str]) -> bool:
    """Take the lock. A launcher that looks whether a server runs holds it for a moment."""
    for attempt in range(_LOCK_ATTEMPTS):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(_LOCK_PAUSE_SECONDS if attempt < _LOCK_ATTEMPTS - 1 else 0)
        else:
            return True
    return False


def unusable(data_dir: str, error: Exception) -> CannotStart:
    return CannotStart(
        ready_line.DATA_DIR_UNUSABLE,
        f"the data directory {data_dir} can't be used: {error}",
        "choose another with --data-dir",
    )
