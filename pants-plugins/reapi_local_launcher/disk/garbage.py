"""What reapi-local left on the disk and nobody needs any more.

Each kind has a function that finds it. None of them finds what a running server or Pants uses, or
what this release of reapi-local would use.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from reapi_contract.data_dir import (
    BOOT_ID_FILE,
    CACHES,
    INPUT_RECORDS,
    INPUT_STAMP,
    INPUTS,
    REMOVED_CACHES,
    SANDBOX,
    STORE,
)
from reapi_contract.disk_usage import disk_bytes
from reapi_local_launcher.disk.in_use import used_by_processes
from reapi_local_launcher.disk.usage import BOOTSTRAP, ENVIRONMENTS
from reapi_local_launcher.python.environment import requirements_key
from reapi_local_launcher.source import SOURCES, Source

DOOMED = ".gc-"
"""How the names of what is being deleted begin. Nobody takes it for something whole."""

_PARTIAL = ".partial"
_HOUR_S = 3600.0
_DAY_S = 24 * _HOUR_S
_BOOTSTRAP_UNUSED_S = 30 * _DAY_S


@dataclass(frozen=True)
class Garbage:
    """A file or directory to remove, and the bytes of disk that this frees. `kind`: for people."""

    kind: str
    path: Path
    disk_bytes: int


def in_shared(root: Path, source: Source, *, environments: bool) -> list[Garbage]:
    """The garbage in a directory that all data directories share.

    `environments`: whether to look at environments; another command may make one now.
    """
    found = [*_bootstrap(root / BOOTSTRAP), *_sources(root / SOURCES, source)]
    if environments:
        found += _environments(root / ENVIRONMENTS)
    used = used_by_processes(one.path for one in found)
    return [one for one in found if one.path not in used]


def in_data_dir(data_dir: Path, max_caches_bytes: int) -> list[Garbage]:
    """The garbage in a data directory that no server uses.

    `max_caches_bytes`: the limit of the named caches, 0 for none.
    """
    return [
        *_all("rest of a purge", data_dir.glob(f"{STORE}.purged-*")),
        *_all("working files", _in(data_dir / SANDBOX)),
        *_all("input tree", orphaned_inputs(data_dir / INPUTS)),
        *_caches(data_dir / CACHES, max_caches_bytes),
    ]


def orphaned_inputs(inputs: Path) -> Iterator[Path]:
    """Input trees that were not finished, or made before the machine was started the last time."""
    boot = _text(Path(BOOT_ID_FILE)).strip()
    is_current = not boot or boot in _text(inputs / INPUT_STAMP).split()
    complete = {path.name.partition("-")[0] for path in _in(inputs / INPUT_RECORDS)}
    for path in _in(inputs):
        is_whole = is_current and path.name in complete
        if path.name.startswith(DOOMED) or (path.name.isdigit() and not is_whole):
            yield path


def _environments(root: Path) -> Iterator[Garbage]:
    """Environments for other requirements than those of this release, each with its log."""
    current = f"{requirements_key()}-"
    for path in _in(root):
        if path.name == ".lock" or path.name.startswith(current):
            continue
        yield _garbage("unfinished" if path.name.startswith(".") else "environment", path)


def _sources(root: Path, source: Source) -> Iterator[Garbage]:
    """Copied packages of other releases, and copies that were not finished."""
    for path in _in(root):
        if path.name.startswith((_PARTIAL, DOOMED)):
            if _unchanged_s(path) > _HOUR_S:
                yield _garbage("unfinished", path)
        elif path.name != source.prepared_name:
            yield _garbage("source", path)


def _bootstrap(root: Path) -> Iterator[Garbage]:
    """Environments with Pants that the `pants` script has not used for a month."""
    for path in _in(root):
        is_unfinished = f"{_PARTIAL}." in path.name or path.name.startswith(DOOMED)
        limit_s = _DAY_S if is_unfinished else _BOOTSTRAP_UNUSED_S
        if _unchanged_s(path) > limit_s:
            yield _garbage("unfinished" if is_unfinished else "bootstrap", path)


def _caches(root: Path, max_bytes: int) -> Iterator[Garbage]:
    """Named caches above the limit, those used longest ago first: what a server would delete."""
    caches = []
    for path in _in(root):
        if path.name.startswith((REMOVED_CACHES, DOOMED)):
            yield _garbage("named caches", path)
        else:
            caches.append(_garbage("named caches", path))
    used_bytes = sum(one.disk_bytes for one in caches)
    for one in sorted(caches, key=lambda one: -_unchanged_s(one.path)):
        if not 0 < max_bytes < used_bytes:
            break
        used_bytes -= one.disk_bytes
        yield one


def _all(kind: str, paths: Iterable[Path]) -> list[Garbage]:
    return [_garbage(kind, path) for path in sorted(paths)]


def _garbage(kind: str, path: Path) -> Garbage:
    return Garbage(kind, path, disk_bytes(path))


def _in(directory: Path) -> list[Path]:
    """What is in a directory; nothing if it is absent or cannot be read."""
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


def _unchanged_s(path: Path) -> float:
    try:
        return time.time() - path.lstat().st_mtime
    except OSError:
        return 0.0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
