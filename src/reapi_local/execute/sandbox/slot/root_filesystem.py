"""Builds the file system that the actions of a slot see, and moves the slot into it.

The slot's own root has:

/.layers    all input layers, read-only
/.caches    all named caches
/.scratch   where each action gets a tmpfs for everything it writes
/.temporary what is shown of the host in /tmp and /var/tmp, which are an action's own
/.proc      the host's /proc: the kernel allows a new proc mount only where a full one is visible

What an action sees, its view, is mounted over this root, on ``/`` itself. So a process in the
view finds nothing above it, not even through a directory descriptor that an action in another
slot sent over a socket. With a chroot to a directory below, ``..`` of such a directory would lead
out.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import Final

from reapi_local.execute.sandbox.action_paths import CACHES, HOME, INPUT_ROOT
from reapi_local.execute.sandbox.linux import syscalls
from reapi_local.execute.sandbox.linux.syscalls import NODEV, NOEXEC, NOSUID, READ_ONLY
from reapi_local.execute.sandbox.slot.slot_messages import SlotSettings

VIEW: Final = "/.."
"""The path of the view in the slot's root: ``/..`` leads from a root to what is mounted on it."""

LAYERS: Final = "/.layers"
ALL_CACHES: Final = "/.caches"
SCRATCH: Final = "/.scratch"
HOST_PROC: Final = "/.proc"
TEMPORARY: Final = "/.temporary"
"""What actions see of the host in their own directories for temporary files."""

_VIEW_UNDER_CONSTRUCTION: Final = "/.view"
_OWN_FILES: Final = "/.files"
_EMPTY_DIRECTORY: Final = _OWN_FILES + "/empty-directory"
_EMPTY_FILE: Final = _OWN_FILES + "/empty-file"
_OWN_DIRECTORIES: Final = ("/dev", "/proc", "/reapi", CACHES, HOME, INPUT_ROOT, "/run", "/tmp")
_TMPFS_OPTIONS: Final = "mode=0755,size=16m"
_DEVICES: Final = ("full", "null", "random", "tty", "urandom", "zero")
_DEVICE_LINKS: Final = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
# A path of the plan may have been deleted since, or be on a file system that doesn't answer. Then
# it isn't shown.
_UNAVAILABLE: Final = {errno.ENOENT, errno.EACCES, errno.ESTALE, errno.ENOTCONN, errno.EIO}


def build(settings: SlotSettings) -> None:
    """Build the slot's root and the view, and enter the root. Nothing else of the host remains.

    To be called in a new mount namespace.
    """
    base = settings["base"]
    syscalls.make_propagation_private()
    _mount_tmpfs(base)
    # `base` is below a directory that the view shows, and must not be visible there.
    syscalls.make_unbindable(base)
    own = (LAYERS, ALL_CACHES, SCRATCH, HOST_PROC, TEMPORARY, _VIEW_UNDER_CONSTRUCTION)
    for name in (*own, _OWN_FILES, "/.host"):
        os.mkdir(base + name)
    _mount_tmpfs(base + TEMPORARY)
    _mount_tmpfs(base + _OWN_FILES)
    os.mkdir(base + _EMPTY_DIRECTORY)
    _touch(base + _EMPTY_FILE)
    syscalls.bind(settings["layers"], base + LAYERS)
    syscalls.set_mount_attributes(base + LAYERS, READ_ONLY | NOSUID | NODEV)
    syscalls.bind(settings["caches"], base + ALL_CACHES)
    syscalls.set_mount_attributes(base + ALL_CACHES, NOSUID | NODEV)
    syscalls.bind("/proc", base + HOST_PROC)
    _build_view(settings, base, base + _VIEW_UNDER_CONSTRUCTION)
    _build_devices(base + _VIEW_UNDER_CONSTRUCTION + "/dev")
    _pivot_to(base)


def open_slot_root() -> int:
    """A descriptor of the slot's own root, for :func:`leave_view`. To be called there."""
    return os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def enter_view(directory: str) -> None:
    """Make the view the root of this process, and ``directory`` its working directory."""
    os.chroot(VIEW)
    os.chdir(directory)


def leave_view(slot_root: int) -> None:
    """Make the slot's own root the root of this process again."""
    os.fchdir(slot_root)
    os.chroot(".")


def mount_proc() -> None:
    """Mount /proc of a new pid namespace. To be called by its first process."""
    syscalls.mount("proc", VIEW + "/proc", "proc", NOSUID | NODEV | NOEXEC)
    # The kernel forbids this if the mount was made before the user namespace. No action can reach
    # the mount anyway.
    with contextlib.suppress(OSError):
        syscalls.unmount_lazily(HOST_PROC)


def forbid_user_namespaces() -> None:
    """An action in a user namespace of its own has capabilities there, and more of the kernel to
    attack. To be called once /proc is mounted.
    """
    path = VIEW + "/proc/sys/user/max_user_namespaces"
    with open(path, "w", encoding="utf-8") as file:
        file.write("0")


def _build_view(settings: SlotSettings, base: str, view: str) -> None:
    _mount_tmpfs(view)
    for directory in _OWN_DIRECTORIES:
        os.mkdir(view + directory)
    for kind, path, detail in settings["steps"]:
        # An action's own directories are mounted over /tmp and /var/tmp.
        top = base + TEMPORARY if is_temporary(path) else view
        _apply_step(kind, path, detail, base, top)
    for number, (path, text) in enumerate(settings["account_files"].items()):
        source = f"{base}{_OWN_FILES}/account-{number}"
        with open(source, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        if os.path.isfile(view + path):
            syscalls.bind(source, view + path)
    for top in (view, base + TEMPORARY):
        syscalls.set_mount_attributes(top, READ_ONLY | NOSUID | NODEV)


def is_temporary(path: str) -> bool:
    """Whether a path is in one of an action's own directories for temporary files."""
    return path.startswith(("/tmp/", "/var/tmp/"))


def _apply_step(kind: str, path: str, detail: str, base: str, top: str) -> None:
    """Apply one step of a :class:`~reapi_local.execute.sandbox.host.host_view.HostView`."""
    target = top + path
    if kind == "symlink":
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.symlink(detail, target)
    elif kind == "parent":
        os.makedirs(target, exist_ok=True)
    elif kind == "directory":
        os.makedirs(target, exist_ok=True)
        _mount_tmpfs(target)
    elif kind == "empty":
        is_directory = detail.startswith("directory")
        try:
            syscalls.bind(base + (_EMPTY_DIRECTORY if is_directory else _EMPTY_FILE), target)
        except FileNotFoundError:  # deleted since the plan was made: nothing to hide
            return
    else:
        _show(path, target, detail.startswith("directory"))


def _show(path: str, target: str, is_directory: bool) -> None:
    if is_directory:
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        _touch(target)
    try:
        syscalls.bind(path, target)
    except OSError as error:
        if error.errno not in _UNAVAILABLE:
            raise


def _build_devices(directory: str) -> None:
    _mount_tmpfs(directory)
    for name in ("pts", "shm"):
        os.mkdir(f"{directory}/{name}")
    for name in filter(lambda name: os.path.exists(f"/dev/{name}"), _DEVICES):
        _touch(f"{directory}/{name}")
        syscalls.bind(f"/dev/{name}", f"{directory}/{name}")
    for name, target in _DEVICE_LINKS.items():
        os.symlink(target, f"{directory}/{name}")
    options = "newinstance,ptmxmode=0666,mode=0620"
    syscalls.mount("devpts", directory + "/pts", "devpts", NOSUID | NOEXEC, options)
    # Read-only, because all actions of a slot share ptmx, and in the slot of an ordinary user an
    # action owns it. Terminals work on a read-only devpts, too.
    for read_only in (directory, directory + "/pts"):
        syscalls.set_mount_attributes(read_only, READ_ONLY, recursive=False)


def _pivot_to(base: str) -> None:
    """Make ``base`` the root, unmount the host's root, and mount the view over the new root."""
    os.chdir(base)
    syscalls.pivot_root(".", ".host")
    os.chdir("/")
    syscalls.unmount_lazily("/.host")
    os.rmdir("/.host")
    syscalls.move_mount(_VIEW_UNDER_CONSTRUCTION, "/")
    os.rmdir(_VIEW_UNDER_CONSTRUCTION)
    syscalls.set_mount_attributes("/", READ_ONLY, recursive=False)


def _mount_tmpfs(target: str) -> None:
    syscalls.mount("tmpfs", target, "tmpfs", NOSUID | NODEV, _TMPFS_OPTIONS)


def _touch(path: str) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
