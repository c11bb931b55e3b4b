"""`reapi-local replay`: an action runs again, and what it makes is compared."""

from __future__ import annotations

import json
import zipfile
from io import BytesIO
from typing import Any

import pytest

from past_actions.lab import Lab, blobs_of, text
from reapi_local.client.unlike import why_unlike
from reapi_local.proto.remote_execution_pb2 import ActionResult, Command, Directory
from rpc.helpers import digest_of

EQUAL, FAILED, UNLIKE = 0, 1, 3


def replay(lab: Lab, action: str) -> tuple[int, dict[str, Any]]:
    done = lab.run("replay", action, "--json")
    content: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, content


def test_an_action_that_makes_the_same_again_is_equal(lab: Lab) -> None:
    script = "mkdir -p d/e; cat src >d/e/copy; ln -s e d/link; echo out; echo err >&2"
    action = lab.action(script, {"src": "content"}, ["d"])

    status, found = replay(lab, action)
    assert (status, found["equal"], found["unlike"]) == (EQUAL, True, [])
    assert found["compared_with"] == "cached result"
    assert "is equal to the cached result" in lab.text("replay", action)


def test_each_output_that_differs_is_named_and_the_cached_result_stays(lab: Lab) -> None:
    script = "head -c 8 /dev/urandom >random; echo same >same; date +%s%N"
    action = lab.action(script, outputs=["random", "same"])
    before = lab.cached(action)

    status, found = replay(lab, action)
    assert (status, found["equal"]) == (UNLIKE, False)
    assert [one["name"] for one in found["unlike"]] == ["random", "standard output"]
    assert found["unlike"][1]["why"] == "line 1 differs, only by numbers, such as times"
    assert found["unlike"][0]["a"] == text(before.output_files[0].digest)
    assert lab.cached(action) == before
    done = lab.run("replay", action)
    assert done.returncode == UNLIKE
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_result_of_another_machine_is_compared_too(lab: Lab) -> None:
    action = lab.action("echo made >made; echo told", outputs=["made"])
    theirs = ActionResult()
    theirs.CopyFrom(lab.cached(action))
    theirs.output_files[0].is_executable = True
    theirs.exit_code = 4
    lab.keep_result(action, theirs)

    status, found = replay(lab, action)
    assert status == UNLIKE
    assert {one["name"]: one["why"] for one in found["unlike"]} == {
        "exit code": "",
        "made": "it is no longer executable",
    }


@pytest.mark.parametrize(("script", "status"), [("exit 5", EQUAL), ("date +%N; exit 5", UNLIKE)])
def test_an_action_without_a_cached_result_runs_twice(lab: Lab, script: str, status: int) -> None:
    action = lab.action(script)  # failed, so it isn't cached

    ended, found = replay(lab, action)
    assert (ended, found["exit_code"]) == (status, 5)
    assert found["compared_with"] == "first run"


def test_an_action_of_pants_runs_as_pants_expects(lab: Lab) -> None:
    script = "echo {chroot} >where; test -w /reapi/caches && echo caches"
    variables = [{"name": "PANTS_CACHE_KEY_TARGET_PLATFORM", "value": "linux_x86_64"}]
    action = lab.action(script, outputs=["where"], run=False, environment_variables=variables)

    _, found = replay(lab, action)
    assert found["exit_code"] == 0
    assert found["equal"] is True


def test_a_server_that_runs_nothing_says_so(cache: Lab) -> None:
    action = cache.action("true", run=False)

    told = cache.refusal("replay", action)
    assert "The server doesn't run processes." in told
    assert "setting execution" in told


def test_an_action_whose_file_is_gone_can_not_run_and_says_why(lab: Lab) -> None:
    gone = digest_of(b"a file that nobody has uploaded")
    root = Directory(files=[{"name": "f", "digest": gone}])
    action, *_ = lab.upload(*blobs_of(Command(arguments=["/bin/true"]), root))

    told = lab.refusal("replay", action)
    assert gone.hash in told
    assert "evicted" in told
    assert gone.hash in lab.refusal("export", action, "--to", "no-export")


def zipped(year: int, content: str = "x") -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("inside", (year, 1, 1, 0, 0, 0)), content)
    return buffer.getvalue()


def compiled(time: bytes) -> bytes:
    return b"MAGI\0\0\0\0" + time + b"size" + b"\xe3code"


def gzipped(time: bytes) -> bytes:
    return b"\x1f\x8b\x08\0" + time + b"\0\3\xff"


@pytest.mark.parametrize(
    ("path", "a", "b", "why"),
    [
        ("a.whl", zipped(2020), zipped(2021), "only the times of entries in the zip differ"),
        ("a.whl", zipped(2020), zipped(2020, "y"), "these entries of the zip differ: inside"),
        (
            "a.pyc",
            b"MAGI\0\0\0\0time" + b"size" + b"code",
            b"MAGI\0\0\0\0TIME" + b"sizecode",
            ".pyc",
        ),
        (
            "a.gz",
            b"\x1f\x8b\x08\0AAAA\0\3\xff",
            b"\x1f\x8b\x08\0BBBB\0\3\xff",
            "header of the gzip",
        ),
        ("log", b"in /tmp/pants-sandbox-aB1/x\n", b"in /reapi/root/x\n", "the path of the sandbox"),
        ("log", b"a\nb\n", b"b\na\n", "the lines are in another order"),
        ("log", b"at 7f00a1b2c3\n", b"at 7f00a1dddd\n", "hexadecimal numbers"),
        ("bin", b"\xff\0\1", b"\xff\0\2", "the first 2 bytes are equal, of 3 and 3"),
        ("a.whl", b"PK\3\4 no zip \xff", b"PK\3\4 none \xff", "the first 7 bytes are equal"),
    ],
)
def test_why_two_files_differ_is_told_where_it_can_be(
    path: str, a: bytes, b: bytes, why: str
) -> None:
    assert why in why_unlike(path, a, b)
