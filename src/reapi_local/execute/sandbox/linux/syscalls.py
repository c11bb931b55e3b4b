"""The system calls of Linux that make a sandbox and that Python has no function for.

Standard library only: this runs in the slots' own small processes. Each function raises OSError
with the call it made in place of a file name.
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
"""With NOSUID and NODEV, which have the same values there, for :func:`restrict`."""

_AT_FDCWD: Final = -100
_AT_RECURSIVE: Final = 0x8000

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_KEEPCAPS: Final = 8
_PR_SET_SECCOMP: Final = 22
_PR_SET_NO_NEW_PRIVS: Final = 38
_SECCOMP_MODE_FILTER: Final = 2

# The same number on every machine since Linux 5.0; older calls differ.
_MOVE_MOUNT: Final = 429
_FSOPEN: Final = 430
_FSCONFIG: Final = 431
_FSMOUNT: Final = 432
_MOUNT_SETATTR: Final = 442
_LANDLOCK_CREATE_RULESET: Final = 444
_LANDLOCK_RESTRICT_SELF: Final = 446
_PIVOT_ROOT: Final = {"x86_64": 155, "aarch64": 41}
_KEYCTL: Final = {"x86_64": 250, "aarch64": 219}

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
    """Show a file or directory, with all that is mounted below, at a second place."""
    mount(source, target, flags=_MS_BIND | _MS_REC)


def move(source: str, target: str) -> None:
    """Take a mount, with all below it, from one place to another."""
    mount(source, target, flags=_MS_MOVE)


def make_private() -> None:
    """From now on mounts made here aren't seen elsewhere, nor the other way about."""
    mount("none", "/", flags=_MS_REC | _MS_PRIVATE)


def make_unbindable(target: str) -> None:
    """Neither this mount nor what is mounted in it is part of later binds of what is above it."""
    mount("none", target, flags=_MS_UNBINDABLE)


def detach(target: str) -> None:
    """Take a mount, and all below it, out of sight; it ends with its last user."""
    _check(_libc.umount2(_path(target), _MNT_DETACH), f"umount({target})")


def restrict(target: str, attributes: int, *, recursive: bool = True) -> None:
    """Set READ_ONLY, NOSUID or NODEV on a mount and those below: mount_setattr(2), Linux 5.12."""
    what = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    flags = _AT_RECURSIVE if recursive else 0
    arguments = (_number(_AT_FDCWD), _path(target), _number(flags), what, _number(32))
    _check(_libc.syscall(_number(_MOUNT_SETATTR), *arguments), f"mount_setattr({target})")


def mount_layers(layers: list[str], target: str, options: dict[str, str]) -> None:
    """An overlay with any number of lower layers.

    Through the newer calls, which take one layer at a time: mount(2) takes one page of options.
    Linux 6.8, or EINVAL.
    """
    context = _check(_libc.syscall(_number(_FSOPEN), _path("overlay"), _number(1)), "fsopen")
    try:
        for key, value in (*options.items(), *(("lowerdir+", layer) for layer in layers)):
            _fsconfig(context, 1 if value else 0, key, value)
        _fsconfig(context, 6, None, "")
        attributes = _number(NOSUID | NODEV)
        made = _libc.syscall(_number(_FSMOUNT), _number(context), _number(1), attributes)
        _check(made, "fsmount(overlay)")
    finally:
        os.close(context)
    try:
        places = (_number(made), _path(""), _number(_AT_FDCWD), _path(target), _number(4))
        _check(_libc.syscall(_number(_MOVE_MOUNT), *places), f"move_mount({target})")
    finally:
        os.close(made)


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)."""
    number = _number(_of_this_machine(_PIVOT_ROOT))
    _check(_libc.syscall(number, _path(new), _path(old)), "pivot_root")


def unshare(namespaces: int) -> None:
    """unshare(2)."""
    _check(_libc.unshare(ctypes.c_int(namespaces)), f"unshare({namespaces:#x})")


def setns(descriptor: int, namespace: int) -> None:
    """setns(2)."""
    _check(_libc.setns(descriptor, ctypes.c_int(namespace)), f"setns({namespace:#x})")


def die_with_parent(signal_number: int) -> None:
    """Be sent this signal when the *thread* that started this process ends."""
    _prctl(_PR_SET_PDEATHSIG, signal_number)


def become(user: int, group: int) -> None:
    """Give up being root, but for one capability, until the next user namespace is made.

    Some systems let only that capability make one (AppArmor, hardened kernels).
    """
    _prctl(_PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    effective_and_permitted = (1 << _CAP_SYS_ADMIN,) * 2
    capabilities = (ctypes.c_uint32 * 6)(*effective_and_permitted, 0, 0, 0, 0)
    _check(_libc.capset(header, capabilities), "capset")


def set_dumpable(value: bool) -> None:
    """Whether processes of the same user may look into this one (ptrace, /proc/PID)."""
    _prctl(_PR_SET_DUMPABLE, int(value))


def reserve(descriptor: int, size: int) -> None:
    """Take room for a file's first bytes without making it longer: fallocate(2)."""
    keep_size = 1
    offsets = (ctypes.c_int64(0), ctypes.c_int64(size))
    _check(_libc.fallocate(descriptor, keep_size, *offsets), "fallocate")


def no_new_privileges() -> None:
    """From now on no program gains anything by its setuid bit or file capabilities."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def install_filter(program: bytes) -> None:
    """Put a seccomp filter (classic BPF) on this process and all it starts."""

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    loaded = Program(len(program) // 8, program)
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(loaded))


def forsake_abstract_sockets() -> None:
    """Lose the way to abstract unix sockets of processes that this one didn't start.

    Landlock, ABI 6 (Linux 6.12); else EINVAL or another error.
    """
    rules = (ctypes.c_uint64 * 3)(0, 0, 1)
    made = _libc.syscall(_number(_LANDLOCK_CREATE_RULESET), rules, _number(24), _number(0))
    _check(made, "landlock_create_ruleset")
    try:
        result = _libc.syscall(_number(_LANDLOCK_RESTRICT_SELF), _number(made), _number(0))
        _check(result, "landlock_restrict_self")
    finally:
        os.close(made)


def leave_session_keyring() -> None:
    """Have an empty session keyring instead of the one inherited."""
    number = _number(_of_this_machine(_KEYCTL))
    _check(_libc.syscall(number, _number(1), None), "keyctl(KEYCTL_JOIN_SESSION_KEYRING)")


def loopback_up() -> None:
    """Switch on the loopback interface of this network namespace."""
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


def _of_this_machine(numbers: dict[str, int]) -> int:
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
