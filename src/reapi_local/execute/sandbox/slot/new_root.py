"""Builds the file system that a slot's actions see, and moves the slot into it.

/.layers    all input layers, read-only
/.caches    all named caches
/.scratch   where each action gets a file system for all that it writes
/.proc      the host's: the kernel lets nobody mount /proc who doesn't see a whole one

That is the slot's own. What an action sees is mounted over it, on the root itself: whoever starts
in there finds nothing above, not even from a directory that an action in another slot opened and
sent over a socket. A chroot to a place below would let that one out.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import Final

from reapi_local.execute.sandbox.linux import syscalls
from reapi_local.execute.sandbox.linux.syscalls import NODEV, NOEXEC, NOSUID, READ_ONLY
from reapi_local.execute.sandbox.slot.slot_messages import Settings

VIEW: Final = "/.."
"""What an action sees, its root, read-only as a whole. The slot's root is what that covers, and
``..`` is the kernel's way from there to what is mounted on top."""

LAYERS: Final = "/.layers"
CACHES: Final = "/.caches"
SCRATCH: Final = "/.scratch"
HOST_PROC: Final = "/.proc"

_VIEW_AS_BUILT: Final = "/.view"
_OWN_FILES: Final = "/.files"
_EMPTY_DIRECTORY: Final = _OWN_FILES + "/empty-directory"
_EMPTY_FILE: Final = _OWN_FILES + "/empty-file"
_OWN: Final = ("/dev", "/proc", "/reapi", "/reapi/caches", "/reapi/home", "/reapi/root", "/run")
_DEVICES: Final = ("full", "null", "random", "tty", "urandom", "zero")
_LINKS: Final = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
# What the plan saw may be gone, or of a file system that doesn't answer: then it isn't shown.
_NOT_TO_BE_SHOWN: Final = {errno.ENOENT, errno.EACCES, errno.ESTALE, errno.ENOTCONN, errno.EIO}


def build(settings: Settings) -> None:
    """In a mount namespace of one's own; afterwards nothing else of the host is in reach."""
    base = settings["base"]
    syscalls.make_private()
    _tmpfs(base)
    # The place is below a directory that the view shows, and must not be seen there.
    syscalls.make_unbindable(base)
    for name in (LAYERS, CACHES, SCRATCH, HOST_PROC, _VIEW_AS_BUILT, _OWN_FILES, "/.host"):
        os.mkdir(base + name)
    _tmpfs(base + _OWN_FILES)
    os.mkdir(base + _EMPTY_DIRECTORY)
    _touch(base + _EMPTY_FILE)
    syscalls.bind(settings["layers"], base + LAYERS)
    syscalls.restrict(base + LAYERS, READ_ONLY | NOSUID | NODEV)
    syscalls.bind(settings["caches"], base + CACHES)
    syscalls.restrict(base + CACHES, NOSUID | NODEV)
    syscalls.bind("/proc", base + HOST_PROC)
    _build_view(settings, base, base + _VIEW_AS_BUILT)
    _build_devices(base + _VIEW_AS_BUILT + "/dev")
    _move_to(base)


def outside() -> int:
    """A descriptor of the slot's own root, to be opened there and to :func:`return_to`."""
    return os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def enter(directory: str) -> None:
    """Have the root that actions have, and be in that directory."""
    os.chroot(VIEW)
    os.chdir(directory)


def return_to(root: int) -> None:
    """Have this root again."""
    os.fchdir(root)
    os.chroot(".")


def mount_proc() -> None:
    """As the first process of a new pid namespace."""
    syscalls.mount("proc", VIEW + "/proc", "proc", NOSUID | NODEV | NOEXEC)
    # Locked for a slot that was root's when it was mounted, and out of an action's reach anyway.
    with contextlib.suppress(OSError):
        syscalls.detach(HOST_PROC)


def forbid_user_namespaces() -> None:
    """Once /proc is mounted: whoever makes one gets capabilities in it, and a larger kernel."""
    path = VIEW + "/proc/sys/user/max_user_namespaces"
    with open(path, "w", encoding="utf-8") as file:
        file.write("0")


def _build_view(settings: Settings, base: str, view: str) -> None:
    _tmpfs(view)
    for directory in _OWN:
        os.mkdir(view + directory)
    os.mkdir(view + "/tmp")
    for kind, path, detail in settings["steps"]:
        _carry_out(kind, path, detail, base, view)
    for number, (path, text) in enumerate(settings["accounts"].items()):
        source = f"{base}{_OWN_FILES}/account-{number}"
        with open(source, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        if os.path.isfile(view + path):
            syscalls.bind(source, view + path)
    syscalls.restrict(view, READ_ONLY | NOSUID | NODEV)


def _carry_out(kind: str, path: str, detail: str, base: str, view: str) -> None:
    """One step of a :class:`~reapi_local.execute.sandbox.host.host_view.HostView`."""
    target = view + path
    if kind == "symlink":
        os.symlink(detail, target)
    elif kind == "directory":
        os.makedirs(target, exist_ok=True)
        _tmpfs(target)
    elif kind == "empty":
        is_directory = detail.startswith("directory")
        try:
            syscalls.bind(base + (_EMPTY_DIRECTORY if is_directory else _EMPTY_FILE), target)
        except FileNotFoundError:  # gone since: nothing to hide
            return
    else:
        _show(path, target, detail.startswith("directory"))


def _show(path: str, target: str, is_directory: bool) -> None:
    if is_directory:
        os.makedirs(target, exist_ok=True)
    else:
        _touch(target)
    try:
        syscalls.bind(path, target)
    except OSError as error:
        if error.errno not in _NOT_TO_BE_SHOWN:
            raise


def _build_devices(directory: str) -> None:
    _tmpfs(directory)
    for name in ("pts", "shm"):
        os.mkdir(f"{directory}/{name}")
    for name in filter(lambda name: os.path.exists(f"/dev/{name}"), _DEVICES):
        _touch(f"{directory}/{name}")
        syscalls.bind(f"/dev/{name}", f"{directory}/{name}")
    for name, target in _LINKS.items():
        os.symlink(target, f"{directory}/{name}")
    options = "newinstance,ptmxmode=0666,mode=0620"
    syscalls.mount("devpts", directory + "/pts", "devpts", NOSUID | NOEXEC, options)
    # Terminals work all the same. An ordinary user owns ptmx, and all actions of a slot share it.
    for place in (directory, directory + "/pts"):
        syscalls.restrict(place, READ_ONLY, recursive=False)


def _move_to(base: str) -> None:
    os.chdir(base)
    syscalls.pivot_root(".", ".host")
    os.chdir("/")
    syscalls.detach("/.host")
    os.rmdir("/.host")
    syscalls.move(_VIEW_AS_BUILT, "/")
    os.rmdir(_VIEW_AS_BUILT)
    syscalls.restrict("/", READ_ONLY, recursive=False)


def _tmpfs(target: str) -> None:
    syscalls.mount("tmpfs", target, "tmpfs", NOSUID | NODEV, "mode=0755,size=16m")


def _touch(path: str) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
