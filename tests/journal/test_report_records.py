"""Reports as JSON, and what is masked in them."""

from __future__ import annotations

import json

import pytest

from reapi_contract.masks import Masks, is_masked, names_a_secret
from reapi_contract.run_reports import (
    ProcessReport,
    RunReport,
    report_from,
    report_json,
)

RUN = RunReport(run="r1", instance="main", goals=("test", "lint"), started_at=1.5, executes=True)
PROCESS = ProcessReport(
    span="a1",
    argv=("bash", "-c", "true"),
    env={"PATH": "/bin", "EMPTY": ""},
    caches={"pex_root": ".cache/pex_root"},
    asked=True,
    exit_code=-15,
    saved_ms=7,
)


def test_a_report_is_the_same_after_its_way_as_json() -> None:
    raw = json.loads(json.dumps(report_json(RUN, [PROCESS])))
    assert report_from(raw) == (RUN, [PROCESS])


def test_a_report_of_another_release_is_read_as_far_as_it_is_known() -> None:
    raw = {
        "run": {"run": "r1", "goals": "test", "later": 1},
        "processes": [{"span": "a", "env": [], "caches": {"n": 3}, "exit_code": "0"}],
    }
    run, [process] = report_from(raw)
    assert run == RunReport(run="r1")
    assert process == ProcessReport(span="a", caches={"n": "3"})


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (None, "names no run"),
        ([], "names no run"),
        ({"run": {"run": 3}}, "names no run"),
        ({"run": {"run": "r"}, "processes": [{}]}, "no span"),
        ({"run": {"run": "r"}, "processes": [{"span": "a"}] * 1001}, "too many"),
        ({"run": {"run": "r", "asked": 2**80}}, "asked can't be"),
        ({"run": {"run": "r", "started_at": 1e15}}, "started_at can't be"),
        ({"run": {"run": "r", "ended_at": float("inf")}}, "ended_at can't be"),
        ({"run": {"run": "r"}, "processes": [{"span": "a", "started_at": float("nan")}]}, "nan"),
        ({"run": {"run": "r"}, "processes": [{"span": "a", "saved_ms": -5}]}, "saved_ms can't be"),
    ],
)
def test_what_is_no_report_is_refused_with_a_reason(body: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        report_from(body)


SECRETS = (
    "GITHUB_TOKEN MY_SECRET DB_PASSWORD PGPASSWORD AWS_ACCESS_KEY_ID STRIPE_KEY DB_PWD db-pass "
    "HTTP_AUTHORIZATION --api-key SENTRY_DSN NPM_CONFIG__authToken"
)
NO_SECRETS = (
    "PATH HOME PWD OLDPWD KEYBOARD GIT_AUTHOR_NAME PANTS_CACHE_KEY_TARGET_PLATFORM "
    "SSH_AUTH_SOCK COMPASS PEX_ROOT LANG MONKEY"
)


@pytest.mark.parametrize("name", SECRETS.split())
def test_these_names_are_of_secrets(name: str) -> None:
    assert names_a_secret(name)


@pytest.mark.parametrize("name", NO_SECRETS.split())
def test_these_names_are_of_no_secrets(name: str) -> None:
    assert not names_a_secret(name)


def test_a_mask_tells_a_change_and_not_the_secret() -> None:
    one, other = Masks(b"key"), Masks(b"another key")
    first = one.variables({"TOKEN": "s3cret", "URL": "https://me:s3cret@host/x?y", "LANG": "C"})
    assert "s3cret" not in str(first)
    assert is_masked(first["TOKEN"])
    assert first["LANG"] == "C"
    assert first["URL"].startswith("https://<secret ")
    assert first["URL"].endswith(">@host/x?y")
    assert one.variables(first) == first
    assert one.variables({"TOKEN": "s3cret"})["TOKEN"] == first["TOKEN"]
    assert one.variables({"TOKEN": "S3cret"})["TOKEN"] != first["TOKEN"]
    assert other.variables({"TOKEN": "s3cret"})["TOKEN"] != first["TOKEN"]
    assert one.variables({"TOKEN": ""}) == {"TOKEN": ""}


def test_secrets_in_arguments_are_masked() -> None:
    given = (
        "x",
        "--token",
        "s3cret",
        "--password=s3cret",
        "--token",
        "-v",
        "--index=https://u:s3cret@h/",
    )
    masked = Masks(b"key").arguments(given)
    assert "s3cret" not in str(masked)
    assert [masked[0], masked[1], masked[4], masked[5]] == ["x", "--token", "--token", "-v"]
    assert Masks(b"key").arguments(masked) == masked
