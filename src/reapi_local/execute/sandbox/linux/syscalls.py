"""Linux system calls that sandboxes need and that Python has no function for.

Slots and supervisors load this module, so it uses the standard library only. Each function raises
OSError; the error's file name is the call that failed.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
from typing import Final

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

NOSUID: Final = 2
NODEV: Final = 4
NOEXEC: Final = 8
_MS_BIND: Final = 0x1000
_MS_MOVE: Final = 0x2000
_MS_REC: Final = 0x4000
_MS_UNBINDABLE: Final = 1 << 17
_MS_PRIVATE: Final = 1 << 18
_MNT_DETACH: Final = 2

READ_ONLY: Final = 1
"""MOUNT_ATTR_RDONLY, for :func:`set_mount_attributes`; NOSUID and NODEV have the same values."""

_AT_FDCWD: Final = -100
_AT_RECURSIVE: Final = 0x8000

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_KEEPCAPS: Final = 8
_PR_SET_SECCOMP: Final = 22
_PR_SET_NO_NEW_PRIVS: Final = 38
_SECCOMP_MODE_FILTER: Final = 2

# Calls added since Linux 5.0 have the same number on every architecture; older calls differ.
_MOVE_MOUNT: Final = 429
_FSOPEN: Final = 430
_FSCONFIG: Final = 431
_FSMOUNT: Final = 432
_MOUNT_SETATTR: Final = 442
_PIVOT_ROOT: Final = {"x86_64": 155, "aarch64": 41}
_KEYCTL: Final = {"x86_64": 250, "aarch64": 219}

_FSCONFIG_SET_FLAG: Final = 0
_FSCONFIG_SET_STRING: Final = 1
_FSCONFIG_CMD_CREATE: Final = 6
_MOVE_MOUNT_F_EMPTY_PATH: Final = 4

_CAPABILITY_VERSION: Final = 0x20080522
_CAP_SYS_ADMIN: Final = 21

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def mount(
    source: str, target: str, kind: str | None = None, flags: int = 0, data: str | None = None
) -> None:
    """mount(2)."""
    result = _libc.mount(
        _path(source),
        _path(target),
        None if kind is None else ctypes.c_char_p(kind.encode()),
        ctypes.c_ulong(flags),
        None if data is None else ctypes.c_char_p(os.fsencode(data)),
    )
    _check(result, f"mount({kind or source} on {target})")


def bind(source: str, target: str) -> None:
    """Bind mount a file or directory, with all mounts below it."""
    mount(source, target, flags=_MS_BIND | _MS_REC)


def move_mount(source: str, target: str) -> None:
    """Move a mount, with all mounts below it, to another mount point."""
    mount(source, target, flags=_MS_MOVE)


def make_propagation_private() -> None:
    """Make mount propagation private: other mount namespaces don't see new mounts of this one,
    and this one doesn't see theirs.
    """
    mount("none", "/", flags=_MS_REC | _MS_PRIVATE)


def make_unbindable(target: str) -> None:
    """Exclude this mount, and mounts below it, from later bind mounts of directories above it."""
    mount("none", target, flags=_MS_UNBINDABLE)


def unmount_lazily(target: str) -> None:
    """Detach a mount, and all mounts below it, now; it is released when its last user is gone."""
    _check(_libc.umount2(_path(target), _MNT_DETACH), f"umount({target})")


def set_mount_attributes(target: str, attributes: int, *, recursive: bool = True) -> None:
    """Set READ_ONLY, NOSUID, NODEV on a mount and those below it: mount_setattr(2), Linux 5.12."""
    mount_attr = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    flags = _AT_RECURSIVE if recursive else 0
    arguments = (_number(_AT_FDCWD), _path(target), _number(flags), mount_attr, _number(32))
    _check(_libc.syscall(_number(_MOUNT_SETATTR), *arguments), f"mount_setattr({target})")


def mount_overlay_by_fsconfig(layers: list[str], target: str, options: dict[str, str]) -> None:
    """Mount an overlay with any number of lower layers.

    The options of mount(2) must fit into one page; fsconfig(2) takes one layer at a time. It raises
    EINVAL before Linux 6.8.
    """
    cloexec = _number(1)  # FSOPEN_CLOEXEC and FSMOUNT_CLOEXEC
    context = _check(_libc.syscall(_number(_FSOPEN), _path("overlay"), cloexec), "fsopen")
    try:
        for key, value in (*options.items(), *(("lowerdir+", layer) for layer in layers)):
            _fsconfig(context, _FSCONFIG_SET_STRING if value else _FSCONFIG_SET_FLAG, key, value)
        _fsconfig(context, _FSCONFIG_CMD_CREATE, None, "")
        attributes = _number(NOSUID | NODEV)
        overlay = _libc.syscall(_number(_FSMOUNT), _number(context), cloexec, attributes)
        _check(overlay, "fsmount(overlay)")
    finally:
        os.close(context)
    try:
        source = (_number(overlay), _path(""))
        arguments = (*source, _number(_AT_FDCWD), _path(target), _number(_MOVE_MOUNT_F_EMPTY_PATH))
        _check(_libc.syscall(_number(_MOVE_MOUNT), *arguments), f"move_mount({target})")
    finally:
        os.close(overlay)


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)."""
    number = _number(_for_this_architecture(_PIVOT_ROOT))
    _check(_libc.syscall(number, _path(new), _path(old)), "pivot_root")


def unshare(namespaces: int) -> None:
    """unshare(2)."""
    _check(_libc.unshare(ctypes.c_int(namespaces)), f"unshare({namespaces:#x})")


def setns(descriptor: int, namespace: int) -> None:
    """setns(2)."""
    _check(_libc.setns(descriptor, ctypes.c_int(namespace)), f"setns({namespace:#x})")


def set_parent_death_signal(signal_number: int) -> None:
    """Have the kernel send this signal when the *thread* that started this process ends."""
    _prctl(_PR_SET_PDEATHSIG, signal_number)


def drop_to_user(uid: int, gid: int) -> None:
    """Change from root to another user, and keep only CAP_SYS_ADMIN.

    AppArmor and hardened kernels let only that capability create a user namespace. Creating one
    gives it up.
    """
    _prctl(_PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    effective_and_permitted = (1 << _CAP_SYS_ADMIN,) * 2
    capabilities = (ctypes.c_uint32 * 6)(*effective_and_permitted, 0, 0, 0, 0)
    _check(_libc.capset(header, capabilities), "capset")


def set_dumpable(value: bool) -> None:
    """Set whether processes of the same user may inspect this one (ptrace, /proc/PID)."""
    _prctl(_PR_SET_DUMPABLE, int(value))


def preallocate(descriptor: int, size: int) -> None:
    """Reserve space for the first bytes of a file, without changing its size: fallocate(2)."""
    keep_size = 1
    offsets = (ctypes.c_int64(0), ctypes.c_int64(size))
    _check(_libc.fallocate(descriptor, keep_size, *offsets), "fallocate")


def set_no_new_privileges() -> None:
    """From now on, setuid bits and file capabilities have no effect: PR_SET_NO_NEW_PRIVS."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def install_seccomp_filter(program: bytes) -> None:
    """Install a seccomp filter (classic BPF) for this process and all its descendants."""

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    loaded = Program(len(program) // 8, program)
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(loaded))


def join_new_session_keyring() -> None:
    """Replace the inherited session keyring with an empty one."""
    number = _number(_for_this_architecture(_KEYCTL))
    _check(_libc.syscall(number, _number(1), None), "keyctl(KEYCTL_JOIN_SESSION_KEYRING)")


def bring_up_loopback() -> None:
    """Bring up the loopback interface of this network namespace."""
    get_flags, set_flags, up = 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = fcntl.ioctl(any_socket, get_flags, struct.pack("16sh14x", b"lo", 0))
        flags = struct.unpack("16sh14x", request)[1]
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sh14x", b"lo", flags | up))


def _fsconfig(context: int, command: int, key: str | None, value: str) -> None:
    name = None if key is None else _path(key)
    text = _path(value) if value else None
    arguments = (_number(context), _number(command), name, text, _number(0))
    _check(_libc.syscall(_number(_FSCONFIG), *arguments), f"fsconfig({key}={value})")


def _prctl(option: int, value: int, pointer: object = None) -> None:
    third = ctypes.c_ulong(0) if pointer is None else pointer
    rest = (ctypes.c_ulong(0), ctypes.c_ulong(0))
    _check(_libc.prctl(option, ctypes.c_ulong(value), third, *rest), f"prctl({option})")


def _for_this_architecture(numbers: dict[str, int]) -> int:
    machine = os.uname().machine
    if machine not in numbers:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), f"a system call of {machine}")
    return numbers[machine]


def _check(result: int, call: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), call)
    return result


def _path(path: str) -> ctypes.c_char_p:
    return ctypes.c_char_p(os.fsencode(path))


def _number(value: int) -> ctypes.c_long:
    return ctypes.c_long(value)
