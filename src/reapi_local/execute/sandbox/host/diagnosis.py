"""Explains why slots don't work on this machine, and what its user can do about it."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from reapi_local.execute.sandbox.interface import StepError

_MIN_LINUX: Final = (5, 12)
_PERMISSION_ERRORS: Final = (errno.EPERM, errno.EACCES)


def read_setting(name: str) -> str:
    """A kernel setting by its path below /proc/sys; "" if this kernel doesn't have it."""
    try:
        return Path("/proc/sys", name).read_text(encoding="ascii").strip()
    except OSError:
        return ""


def why_unsupported() -> str:
    """Why slots can't work on this system, without trying; "" if they may work."""
    if sys.platform != "linux":
        return "slots need Linux namespaces, and this isn't Linux"
    release = os.uname().release
    version = tuple(map(int, re.findall(r"\d+", release)[:2]))
    return f"slots need Linux 5.12 or later, and this is {release}" if version < _MIN_LINUX else ""


def explain(error: StepError, setting: Callable[[str], str] = read_setting) -> str:
    """The error's message, with the cause and the cure if they are known."""
    for explanation in (
        _forbidden_by_kernel_setting(error, setting),
        _missing_kernel_feature(error),
        _forbidden_by_container(error),
    ):
        if explanation:
            return f"{error}: {explanation}"
    return str(error)


def _forbidden_by_kernel_setting(error: StepError, setting: Callable[[str], str]) -> str:
    """The kernel has user namespaces, but this user can't create or can't use them."""
    if error.step not in ("user namespace", "namespaces", "root", "proc"):
        return ""
    if error.errno == errno.ENOSPC:
        return (
            "the limit of namespaces is reached "
            f"(user.max_user_namespaces is {setting('user/max_user_namespaces') or 'unknown'}); "
            "raise it: sudo sysctl -w user.max_user_namespaces=15000"
        )
    if error.errno not in _PERMISSION_ERRORS:
        return ""
    if setting("kernel/unprivileged_userns_clone") == "0":
        return (
            "this kernel doesn't allow ordinary users to create user namespaces; allow it: "
            "sudo sysctl -w kernel.unprivileged_userns_clone=1"
        )
    if setting("kernel/apparmor_restrict_unprivileged_userns") == "1" and os.getuid() != 0:
        return (
            "AppArmor doesn't allow ordinary programs to use user namespaces; either allow it for "
            "all programs: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or for "
            "this server: a profile in /etc/apparmor.d for its Python, with flags=(unconfined) and "
            "the rule 'userns,'"
        )
    return ""


def _missing_kernel_feature(error: StepError) -> str:
    release = os.uname().release
    if error.errno == errno.ENOSYS:
        machine = os.uname().machine
        return f"slots need Linux 5.12 on x86-64 or arm64, and this is {release} on {machine}"
    if error.errno == errno.EINVAL and error.step == "user namespace":
        return f"this kernel ({release}) is built without user namespaces"
    if error.errno == errno.EINVAL and "fsconfig" in error.problem:
        return f"an input root with so many layers needs Linux 6.8, and this is {release}"
    if error.errno == errno.ENODEV:
        return "the kernel lacks that file system; load its module: sudo modprobe overlay"
    return ""


def _forbidden_by_container(error: StepError) -> str:
    if error.step == "action user":
        return (
            "the server is root only in a container's user namespace, in which no other user "
            "exists; start it as an ordinary user"
        )
    if error.errno not in _PERMISSION_ERRORS:
        return ""
    if error.step == "proc":
        return (
            "a part of /proc is masked, which is usual in containers; with Docker or Podman, start "
            "the container with --security-opt systempaths=unconfined"
        )
    if error.step == "mount namespace":
        return (
            "the server is root without root's capabilities, which is usual in containers; start "
            "it as an ordinary user, or start the container with --cap-add SYS_ADMIN and "
            "--security-opt systempaths=unconfined"
        )
    return (
        "something forbids namespaces or mounts, often a container's system call filter; with "
        "Docker or Podman, start the container with --security-opt seccomp=unconfined "
        "--security-opt systempaths=unconfined, and with AppArmor also "
        "--security-opt apparmor=unconfined"
    )
