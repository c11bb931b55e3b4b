"""Why a slot can't be had on this machine, and what its user can do about it."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from reapi_local.execute.sandbox.slot.slot_process import SlotFailed

_OLDEST: Final = (5, 12)
_REFUSED: Final = (errno.EPERM, errno.EACCES)


def read_setting(name: str) -> str:
    """A kernel setting by its path below /proc/sys, "" = this kernel doesn't have it."""
    try:
        return Path("/proc/sys", name).read_text(encoding="ascii").strip()
    except OSError:
        return ""


def unsuited_system() -> str:
    """Why slots needn't even be tried here, "" = they may work."""
    if sys.platform != "linux":
        return "slots are made of Linux's namespaces, and this isn't Linux"
    release = os.uname().release
    version = tuple(map(int, re.findall(r"\d+", release)[:2]))
    return f"slots take Linux 5.12, and this is {release}" if version < _OLDEST else ""


def explained(failure: SlotFailed, setting: Callable[[str], str] = read_setting) -> str:
    """Cause and cure, if the failure has one that is known."""
    for known in (
        _settings_of_the_kernel(failure, setting),
        _too_old(failure),
        _container(failure),
    ):
        if known:
            return f"{failure}: {known}"
    return str(failure)


def _settings_of_the_kernel(failure: SlotFailed, setting: Callable[[str], str]) -> str:
    """User namespaces exist but this user can't have them, or can't do anything in them."""
    if failure.step not in ("user namespace", "namespaces", "root", "proc"):
        return ""
    if failure.errno == errno.ENOSPC:
        return (
            "the limit of namespaces is reached "
            f"(user.max_user_namespaces is {setting('user/max_user_namespaces') or 'unknown'}); "
            "raise it: sudo sysctl -w user.max_user_namespaces=15000"
        )
    if failure.errno not in _REFUSED:
        return ""
    if setting("kernel/unprivileged_userns_clone") == "0":
        return (
            "this kernel keeps user namespaces from ordinary users; allow them: "
            "sudo sysctl -w kernel.unprivileged_userns_clone=1"
        )
    if setting("kernel/apparmor_restrict_unprivileged_userns") == "1" and os.getuid() != 0:
        return (
            "AppArmor keeps ordinary programs from using user namespaces; either allow it to all: "
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or to this server: "
            "a profile in /etc/apparmor.d for its Python, with flags=(unconfined) and the rule "
            "'userns,'"
        )
    return ""


def _too_old(failure: SlotFailed) -> str:
    release = os.uname().release
    if failure.errno == errno.ENOSYS:
        machine = os.uname().machine
        return f"it takes Linux 5.12 on x86-64 or arm64, and this is {release} on {machine}"
    if failure.errno == errno.EINVAL and failure.step == "user namespace":
        return f"this kernel ({release}) is built without user namespaces"
    if failure.errno == errno.EINVAL and "fsconfig" in failure.problem:
        return f"an input root of so many layers takes Linux 6.8, and this is {release}"
    if failure.errno == errno.ENODEV:
        return "the kernel lacks that file system; load its module: sudo modprobe overlay"
    return ""


def _container(failure: SlotFailed) -> str:
    if failure.step == "action user":
        return (
            "the server is root only of a container's user namespace, in which no other user "
            "exists; start it as an ordinary user"
        )
    if failure.errno not in _REFUSED:
        return ""
    if failure.step == "proc":
        return (
            "a part of /proc is hidden, as containers have it; with Docker or Podman, start the "
            "container with --security-opt systempaths=unconfined"
        )
    if failure.step == "mount namespace":
        return (
            "the server is root without root's capabilities, as in a container; start it as an "
            "ordinary user, or the container with --cap-add SYS_ADMIN and "
            "--security-opt systempaths=unconfined"
        )
    return (
        "something forbids namespaces or mounts, often a container's system call filter; with "
        "Docker or Podman, start the container with --security-opt seccomp=unconfined "
        "--security-opt systempaths=unconfined, and --security-opt apparmor=unconfined where there "
        "is AppArmor"
    )
