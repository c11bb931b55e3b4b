"""The options of bwrap that make the mounts of an action."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from reapi_local.execute.sandbox.action_paths import CACHES, HOME, INPUT_ROOT
from reapi_local.execute.sandbox.host.host_view import (
    BIND,
    DIRECTORY,
    EMPTY,
    PARENT,
    SYMLINK,
    HostView,
    Step,
    is_temporary,
)
from reapi_local.execute.sandbox.supervised.action_dirs import ActionDir
from reapi_local.execute.sandbox.supervised.supervisor_process import PACKAGES

PACKAGES_INSIDE: Final = "/reapi/lib"
"""The directory that the supervisor imports this package from."""

_WRITABLE: Final = {
    "root": INPUT_ROOT,
    "home": HOME,
    "tmp": "/tmp",
    "var-tmp": "/var/tmp",
    "shm": "/dev/shm",
}


def options_for_host(view: HostView, empty_file: str) -> list[str]:
    """Mounts that show the host read-only; ``empty_file`` is mounted over hidden files."""
    steps = (step for step in view.steps if not is_temporary(step.path))
    return ["--dir", "/run", "--dir", "/reapi", *_mounts(steps, empty_file)]


def options_for_temporary(view: HostView, empty_file: str) -> list[str]:
    """Mounts that show the host's files in the action's own directories for temporary files.

    They come after the mounts of these.
    """
    return [*_mounts(filter(lambda step: is_temporary(step.path), view.steps), empty_file)]


def _mounts(steps: Iterable[Step], empty_file: str) -> Iterator[str]:
    for kind, path, detail in steps:
        if kind == BIND:
            yield from (*_parents(path), "--ro-bind-try", path, path)
        elif kind == SYMLINK:
            yield from (*_parents(path), "--symlink", detail, path)
        elif kind == PARENT:
            yield from (*_parents(path), "--dir", path)
        elif kind == DIRECTORY:
            yield from (*_parents(path), "--tmpfs", path)
        elif os.path.lexists(path):  # else it was deleted since the plan was made
            is_file = detail.startswith("file")
            yield from ("--ro-bind", empty_file, path) if is_file else ("--tmpfs", path)


def options_for_supervisor(view: HostView) -> list[str]:
    """Mounts that show the supervisor its interpreter and this package."""
    package = "reapi_local"
    source, target = os.path.join(PACKAGES, package), os.path.join(PACKAGES_INSIDE, package)
    options = ["--dir", PACKAGES_INSIDE, "--ro-bind", source, target]
    if not view.shows(prefix := sys.base_prefix):
        options += [*_parents(prefix), "--ro-bind", prefix, prefix]
    return options


def options_for_action(action_dir: ActionDir, caches: str | None) -> list[str]:
    """Mounts of the action's own directories: everything that it can write to."""
    options = ["--proc", "/proc", "--dev", "/dev"]
    for name, target in _WRITABLE.items():
        if target != "/var/tmp" or _is_plain_directory(target):
            options += ["--bind", action_dir.directory(name), target]
    if caches is not None:
        options += ["--bind", caches, CACHES]
    return options


def remount_read_only(view: HostView) -> list[str]:
    """Makes the tmpfs mounts read-only, once all mount points on them exist. To come last."""
    tmpfs_mounts = [
        path
        for kind, path, detail in view.steps
        if kind == DIRECTORY or (kind == EMPTY and not detail.startswith("file"))
        if os.path.lexists(path)
    ]
    return [option for path in (*tmpfs_mounts, "/dev", "/") for option in ("--remount-ro", path)]


def _parents(path: str) -> list[str]:
    """Creates the parent directories: those that bwrap creates by itself have mode 0700."""
    names = path.split("/")[1:-1]
    paths = accumulate(names, lambda above, name: f"{above}/{name}", initial="")
    return [option for above in list(paths)[1:] for option in ("--dir", above)]


def _is_plain_directory(path: str) -> bool:
    return os.path.realpath(path) == path and os.path.isdir(path)
