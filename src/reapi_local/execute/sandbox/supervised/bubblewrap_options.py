"""What bwrap is told so that actions see the host as planned."""

from __future__ import annotations

import os
import sys
from itertools import accumulate
from typing import Final

from reapi_local.execute.sandbox.host.host_view import (
    BIND,
    DIRECTORY,
    EMPTY,
    OWN_DIRECTORIES,
    SYMLINK,
    HostView,
)
from reapi_local.execute.sandbox.interface import CACHES, HOME, INPUT_ROOT
from reapi_local.execute.sandbox.supervised.action_dirs import ActionDir
from reapi_local.execute.sandbox.supervised.supervision import PACKAGES

PACKAGES_INSIDE: Final = "/reapi/lib"
"""Where the supervisor finds this package."""

_WRITABLE: Final = {
    "root": INPUT_ROOT,
    "home": HOME,
    "tmp": "/tmp",
    "var-tmp": "/var/tmp",
    "shm": "/dev/shm",
}


def options_for_host(view: HostView, empty_file: str) -> list[str]:
    """Mounts to show the host read-only; ``empty_file`` is to hide files behind."""
    options = ["--dir", "/run", "--dir", "/reapi"]
    for kind, path, detail in view.steps:
        if kind == BIND:
            options += ["--ro-bind-try", path, path]
        elif kind == SYMLINK:
            options += ["--symlink", detail, path]
        elif kind == EMPTY and detail.startswith("file"):
            options += ["--ro-bind", empty_file, path]
        else:
            options += [*_parents(path), "--tmpfs", path]
    return options


def options_for_supervisor(view: HostView) -> list[str]:
    """Mounts to show it its interpreter, wherever that is, and this package."""
    package = "reapi_local"
    source, target = os.path.join(PACKAGES, package), os.path.join(PACKAGES_INSIDE, package)
    options = ["--dir", PACKAGES_INSIDE, "--ro-bind", source, target]
    if not _shows(view, prefix := sys.base_prefix):
        options += [*_parents(prefix), "--ro-bind", prefix, prefix]
    return options


def options_for_action(place: ActionDir, caches: str | None) -> list[str]:
    """Mounts of what is the action's own, all that it can write to."""
    options = ["--proc", "/proc", "--dev", "/dev"]
    for name, target in _WRITABLE.items():
        if target != "/var/tmp" or _is_plain_directory(target):
            options += ["--bind", place.directory(name), target]
    if caches is not None:
        options += ["--bind", caches, CACHES]
    return options


def read_only_at_last(view: HostView) -> list[str]:
    """Closes the file systems that were writable for the mount points on them."""
    made = [
        path
        for kind, path, detail in view.steps
        if kind == DIRECTORY or (kind == EMPTY and not detail.startswith("file"))
    ]
    return [option for path in (*made, "/dev", "/") for option in ("--remount-ro", path)]


def _parents(path: str) -> list[str]:
    """For all to search: those that bwrap makes by itself are closed."""
    names = path.split("/")[1:-1]
    paths = accumulate(names, lambda above, name: f"{above}/{name}", initial="")
    return [option for above in list(paths)[1:] for option in ("--dir", above)]


def _shows(view: HostView, path: str) -> bool:
    kinds = {step.path: step.kind for step in view.steps}
    above = path
    while above not in kinds and above not in (*OWN_DIRECTORIES, "/var/tmp", "/"):
        above = os.path.dirname(above)
    return kinds.get(above) == BIND


def _is_plain_directory(path: str) -> bool:
    return os.path.realpath(path) == path and os.path.isdir(path)
