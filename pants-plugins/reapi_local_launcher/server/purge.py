"""Deleting what the server stored, and nothing else."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from reapi_contract import sandbox_levels
from reapi_contract.data_dir import SERVER_LOCK, STORE
from reapi_local_launcher import paths
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.locks import LockTimeoutError, locked
from reapi_local_launcher.server.launch import launch
from reapi_local_launcher.server.running import Running, find_in
from reapi_local_launcher.server.server_status import execution_of
from reapi_local_launcher.server.stop import launch_lock, stop_locked
from reapi_local_launcher.server_settings import ServerSettings


@dataclass(frozen=True)
class Purged:
    """`freed_bytes` of disk; `running` is the server started again, None if none ran before."""

    freed_bytes: int
    running: Running | None


def has_store(data_dir: Path) -> bool:
    """Whether there is anything to purge in a data directory."""
    return any(data_dir.glob(f"{STORE}*"))


def purge(
    settings: ServerSettings, env: Mapping[str, str], progress: Callable[[str], None]
) -> Purged:
    """Delete all blobs and action results. The token, the ports and the log stay.

    A running server is stopped first. Afterwards it is started again with the same size limit and
    the same settings for running processes. Raises LauncherError.
    """
    data_dir = paths.data_dir(settings, env)
    if not data_dir.is_dir():
        return Purged(0, None)
    with launch_lock(data_dir, settings):
        before = find_in(data_dir)
        if before is not None:
            settings = _settings_of(before, settings)
        stop_locked(data_dir, settings)
        freed_bytes = _delete_store(data_dir, settings)
    if before is None:
        return Purged(freed_bytes, None)
    return Purged(freed_bytes, launch(settings, env, progress))


def _settings_of(running: Running, settings: ServerSettings) -> ServerSettings:
    """Settings that start a server like the running one."""
    execution = execution_of(running, settings.labels)
    return replace(
        settings,
        max_size=settings.max_size or str(running.state.max_size_bytes),
        slots=execution.slots,
        hermetic=execution.hermetic,
        sandbox=execution.sandbox or sandbox_levels.AUTO,
    )


def _delete_store(data_dir: Path, settings: ServerSettings) -> int:
    """Delete the store; returns the bytes of disk that this freed. Raises LauncherError."""
    lock = data_dir / SERVER_LOCK
    try:
        # This holds the server's own lock, so no server can open the store meanwhile.
        with locked(lock, timeout_s=1.0):
            store = data_dir / STORE
            if store.exists():
                # Rename it first: if this process is killed, no server finds half a store.
                store.rename(data_dir / f"{STORE}.purged-{secrets.token_hex(4)}")
            doomed = sorted(data_dir.glob(f"{STORE}.purged-*"))
            freed_bytes = sum(map(_disk_bytes, doomed))
            for directory in doomed:
                shutil.rmtree(directory)
            return freed_bytes
    except LockTimeoutError:
        raise LauncherError(
            "The store is in use.",
            f"A server that was started meanwhile holds {lock}.",
            f"Stop it with `{settings.labels.down}` and purge again.",
        ) from None
    except OSError as error:
        raise LauncherError(
            "The store could not be deleted.",
            f"{error.filename}: {error.strerror or error}.",
            f"Make {data_dir} writable for this user and purge again.",
        ) from error


def _disk_bytes(directory: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in directory.rglob("*"))
