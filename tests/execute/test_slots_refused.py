"""Machines where slots don't work: the error has the cause and the cure."""

from __future__ import annotations

import errno
import os

import pytest

from execute.sandbox_helpers import ORDINARY_USER, refusal
from reapi_local.execute.sandbox.host.diagnosis import explain
from reapi_local.execute.sandbox.interface import StepError

AS_USER = ("setpriv", f"--reuid={ORDINARY_USER}", f"--regid={ORDINARY_USER}", "--clear-groups")
NO_MORE_USER_NAMESPACES = (
    *("unshare", "--user", "--map-user=1000", "--map-group=1000", "--keep-caps"),
    *("sh", "-c", 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"', "sh"),
)
MASKED_PROC = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc/fs; exec "$@"', "sh")


async def test_for_forbidden_user_namespaces_the_error_names_the_setting() -> None:
    message = await refusal(*AS_USER, *NO_MORE_USER_NAMESPACES)
    assert "sysctl -w user.max_user_namespaces" in message


@pytest.mark.parametrize("user", [AS_USER, ()], ids=["ordinary user", "root"])
async def test_for_a_masked_proc_the_error_names_the_container_option(
    user: tuple[str, ...],
) -> None:
    assert "systempaths=unconfined" in await refusal(*MASKED_PROC, *user)


async def test_root_without_capabilities_is_advised_to_start_as_an_ordinary_user() -> None:
    message = await refusal("setpriv", "--bounding-set=-sys_admin", user=0)
    assert "start it as an ordinary user" in message


async def test_for_root_of_a_user_namespace_the_error_says_so() -> None:
    message = await refusal(*AS_USER, "unshare", "--user", "--map-root-user")
    assert "root only in a container's user namespace" in message


@pytest.mark.parametrize(
    ("step", "number", "settings", "told"),
    [
        (
            *("user namespace", errno.EPERM),
            {"kernel/unprivileged_userns_clone": "0"},
            "sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        ("user namespace", errno.EPERM, {}, "seccomp=unconfined"),
        ("user namespace", errno.EINVAL, {}, "without user namespaces"),
        ("root", errno.ENOSYS, {}, "need Linux 5.12"),
        ("action", errno.ENODEV, {}, "modprobe overlay"),
    ],
)
def test_errors_of_other_kernels_have_a_cure(
    step: str, number: int, settings: dict[str, str], told: str
) -> None:
    failure = StepError(step, number, f"{os.strerror(number)} (mount(overlay on /x))")
    message = explain(failure, lambda name: settings.get(name, ""))
    assert told in message
    assert os.strerror(number) in message


@pytest.mark.skipif(os.getuid() == 0, reason="AppArmor's restriction isn't for root")
def test_for_apparmor_s_restriction_the_error_has_both_cures() -> None:
    settings = {"kernel/apparmor_restrict_unprivileged_userns": "1"}
    failure = StepError("root", errno.EACCES, "Permission denied")
    message = explain(failure, lambda name: settings.get(name, ""))
    assert "apparmor_restrict_unprivileged_userns=0" in message
    assert "/etc/apparmor.d" in message


def test_an_unknown_error_is_reported_unchanged() -> None:
    failure = StepError("root", errno.EIO, "Input/output error (mount)")
    assert explain(failure, lambda name: "") == str(failure)
