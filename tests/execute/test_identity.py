"""The uid and gid that actions run as."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reapi_local.execute.sandbox.host.identity import (
    ACTION_UID,
    Identity,
    account_files,
    identity_of_actions,
)

UNKNOWN = 3_999_999


def test_actions_of_root_run_as_an_unused_uid_and_others_as_themselves() -> None:
    identity = identity_of_actions()
    if os.getuid() == 0:
        assert (identity.uid, identity.inner_uid) == (ACTION_UID, 1000)
        assert identity_of_actions(4321).uid == 4321
    else:
        assert (identity.uid, identity.inner_uid) == (os.getuid(), os.getuid())


def test_an_unknown_user_gets_an_entry_and_the_host_s_are_kept() -> None:
    accounts = account_files(Identity(1, 1, UNKNOWN, UNKNOWN))
    assert set(accounts) == {"/etc/passwd", "/etc/group"}
    host = Path("/etc/passwd").read_text(encoding="utf-8").splitlines()
    *kept, made = accounts["/etc/passwd"].splitlines()
    assert kept == host
    assert made.split(":")[2:] == [
        *(str(UNKNOWN), str(UNKNOWN), "reapi-local action", "/reapi/home", "/bin/sh")
    ]


def test_a_known_user_keeps_the_host_s_entry() -> None:
    assert account_files(Identity(0, 0, 0, 0)) == {}


@pytest.mark.parametrize(
    ("identity", "mode", "may_read"),
    [
        (Identity(7, 7, 7, 7), 0o400, True),
        (Identity(7, 7, 7, 7), 0o044, False),
        (Identity(8, 7, 8, 7), 0o040, True),
        (Identity(8, 8, 8, 8, frozenset({7})), 0o040, True),
        (Identity(8, 7, 8, 7), 0o404, False),
        (Identity(8, 8, 8, 8), 0o004, True),
        (Identity(8, 8, 8, 8), 0o440, False),
    ],
)
def test_the_first_match_of_owner_group_and_others_decides(
    identity: Identity, mode: int, may_read: bool
) -> None:
    status = os.stat_result((mode, 0, 0, 0, 7, 7, 0, 0, 0, 0))
    assert identity.may(status, 4) is may_read
