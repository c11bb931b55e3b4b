"""Removes garbage, or finds it only, while no server and no launcher is at the same place."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from reapi_contract.data_dir import LAUNCH_LOCK, SERVER_LOCK
from reapi_contract.state import read_state
from reapi_local_launcher import paths
from reapi_local_launcher.disk.garbage import DOOMED, Garbage, in_data_dir, in_shared
from reapi_local_launcher.disk.usage import ENVIRONMENTS
from reapi_local_launcher.locks import LockTimeoutError, is_locked, locked
from reapi_local_launcher.server_settings import ServerSettings
from reapi_local_launcher.source import find_source


@dataclass(frozen=True)
class Collected:
    """What was removed, or would be; and what could not be removed, with the reason."""

    removed: tuple[Garbage, ...]
    failed: tuple[tuple[Garbage, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def total_bytes(self) -> int:
        return sum(one.disk_bytes for one in self.removed)


def collect(settings: ServerSettings, env: Mapping[str, str], *, dry_run: bool) -> Collected:
    """Remove what nobody needs, or with `dry_run` only find it. Raises LauncherError.

    Where a server or another command is at work, everything that it may use stays.
    """
    data_dir, home = paths.data_dir(settings, env), paths.cache_home(env)
    source, notes = find_source(), []
    found: list[Garbage] = []
    with ExitStack() as stack:
        has = {
            lock: stack.enter_context(_held(lock, dry_run=dry_run))
            for lock in (data_dir / LAUNCH_LOCK, data_dir / SERVER_LOCK)
        }
        if all(has.values()):
            state = read_state(data_dir)
            found += in_data_dir(data_dir, state.named_caches_bytes if state else 0)
        # The data directory takes the place of a home that cannot be written.
        for root in dict.fromkeys((home, data_dir)):
            lock = root / ENVIRONMENTS / ".lock"
            is_free = stack.enter_context(_held(lock, dry_run=dry_run))
            if not is_free:
                notes.append("An environment is being made, so environments were left alone.")
            found += in_shared(root, source, environments=is_free)
        if dry_run:
            return Collected(tuple(found), notes=tuple(notes))
        failed = [(one, why) for one in found if (why := _remove(one.path))]
    removed = [one for one in found if one not in dict(failed)]
    return Collected(tuple(removed), tuple(failed), tuple(notes))


@contextmanager
def _held(lock: Path, *, dry_run: bool) -> Iterator[bool]:
    """Hold a lock in the block, if nobody else does. A dry run only looks, and writes nothing.

    Gives whether nobody else holds it. A lock in a directory that is absent needs no holding.
    """
    if dry_run or not lock.parent.is_dir():
        yield not is_locked(lock)
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(lock, timeout_s=0.0))
        except (LockTimeoutError, OSError):
            yield False
            return
        yield True


def _remove(path: Path) -> str:
    """Remove a file or a directory, whatever its modes; returns why that failed, else ""."""
    doomed = path.with_name(f"{DOOMED}{secrets.token_hex(6)}")
    try:
        path.rename(doomed)  # whatever happens from here on, nobody takes a part for the whole
        if doomed.is_dir() and not doomed.is_symlink():
            _remove_tree(doomed)
        else:
            doomed.unlink()
    except FileNotFoundError:
        return ""
    except OSError as error:
        return error.strerror or str(error)
    return "it can't be deleted" if doomed.exists() else ""


def _remove_tree(directory: Path) -> None:
    """Remove it although actions may have left directories in it that nobody may write."""
    with suppress(RecursionError):
        shutil.rmtree(directory, ignore_errors=True)
    if directory.exists():
        for command in (["chmod", "-R", "u+rwx"], ["rm", "-rf"]):
            subprocess.run([*command, str(directory)], stderr=subprocess.DEVNULL, check=False)
