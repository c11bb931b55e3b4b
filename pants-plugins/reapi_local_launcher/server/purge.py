"""Deleting what the server stored, and nothing else."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from reapi_local_launcher import paths
from reapi_local_launcher.errors import LauncherError
from reapi_local_launcher.locks import LockTimeoutError, locked
from reapi_local_launcher.server.check import status_of
from reapi_local_launcher.server.execution import execution_in
from reapi_local_launcher.server.launch import ensure
from reapi_local_launcher.server.running import Running, find_in
from reapi_local_launcher.server.stop import launch_lock, stop_locked
from reapi_local_launcher.settings import Settings

_STORE = "store"


@dataclass(frozen=True)
class Purged:
    """`freed_bytes` of disk; `running` is the server started again, None if none ran before."""

    freed_bytes: int
    running: Running | None


def purge(settings: Settings, env: Mapping[str, str], progress: Callable[[str], None]) -> Purged:
    """Delete all blobs and action results. The token, the ports and the log stay.

    A server that runs is stopped before and started again after, with its size limit and its way
    to run processes. Raises LauncherError.
    """
    data_dir = paths.data_dir(settings, env)
    if not data_dir.is_dir():
        return Purged(0, None)
    with launch_lock(data_dir, settings):
        ran = find_in(data_dir)
        if ran is not None:
            settings = _as_it_runs(ran, settings)
        stop_locked(data_dir, settings)
        freed_bytes = _delete_store(data_dir, settings)
    if ran is None:
        return Purged(freed_bytes, None)
    return Purged(freed_bytes, ensure(settings, env, progress))


def _as_it_runs(running: Running, settings: Settings) -> Settings:
    execution = execution_in(status_of(running, settings.words))
    return replace(
        settings,
        max_size=settings.max_size or str(running.state.max_size_bytes),
        slots=execution.slots,
        hermetic=execution.hermetic,
        sandbox=execution.sandbox or "auto",
    )


def _delete_store(data_dir: Path, settings: Settings) -> int:
    try:
        # With the server's own lock, so that one started by other hands cannot open it meanwhile.
        with locked(data_dir / "server.lock", timeout_s=1.0):
            store = data_dir / _STORE
            if store.exists():
                # Renamed first: a purge that is killed must not leave half a store to be opened.
                store.rename(data_dir / f"{_STORE}.purged-{secrets.token_hex(4)}")
            doomed = sorted(data_dir.glob(f"{_STORE}.purged-*"))
            freed_bytes = sum(map(_disk_bytes, doomed))
            for directory in doomed:
                shutil.rmtree(directory)
            return freed_bytes
    except LockTimeoutError:
        raise LauncherError(
            "The store is in use.",
            f"A server that was started meanwhile holds {data_dir / 'server.lock'}.",
            f"Stop it with `{settings.words.down}` and purge again.",
        ) from None
    except OSError as error:
        raise LauncherError(
            "The store could not be deleted.",
            f"{error.filename}: {error.strerror or error}.",
            f"Make {data_dir} writable for this user and purge again.",
        ) from error


def _disk_bytes(directory: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in directory.rglob("*"))
