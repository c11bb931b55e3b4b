"""Commands show text of clients and actions so that a terminal obeys nothing in it."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from past_actions.lab import INSTANCE, Lab, blobs_of, text
from reapi_contract.data_dir import LOG_FILE
from reapi_local.proto.remote_execution_pb2 import (
    ActionResult,
    Command,
    Directory,
    OutputFile,
)
from rpc.helpers import digest_of

EVIL = "\x1b[2J\x1b]52;c;ZXZpbA==\x07\x9b1A\rall is well\u202e"


@pytest.fixture(scope="module")
def actions(cache: Lab) -> tuple[str, str]:
    """Two actions with results, whose names, values and files are evil."""
    made = []
    for content in (b"one\x1b[2J\n", b"two\r\x07\n"):
        root = Directory(
            files=[{"name": f"file{EVIL}", "digest": digest_of(content)}],
            symlinks=[{"name": f"link{EVIL}{len(made)}", "target": f"target{EVIL}"}],
        )
        command = Command(
            arguments=[f"tool{EVIL}", f"{len(made)}{EVIL}"],
            environment_variables=[{"name": f"NAME{EVIL}", "value": f"{len(made)}{EVIL}"}],
            platform={"properties": [{"name": f"p{EVIL}", "value": f"{len(made)}{EVIL}"}]},
            output_paths=[f"out{EVIL}"],
            working_directory=f"in{EVIL}",
        )
        action, *_ = cache.upload(*blobs_of(command, root, salt=EVIL.encode()), content)
        result = ActionResult(
            output_files=[OutputFile(path=f"out{EVIL}", digest=digest_of(content))],
            execution_metadata={"worker": f"worker{EVIL}"},
        )
        cache.keep_result(action, result)
        made.append(action)
    return made[0], made[1]


@pytest.fixture(scope="module")
def reported(cache: Lab) -> None:
    """Two runs that differ in evil things alone."""
    for number in (1, 2):
        run = {
            "run": f"run-{number}",
            "instance": INSTANCE,
            **dict.fromkeys(("command_line", "machine", "user", "tool"), f"name{EVIL}"),
            "asked": 1,
            "reads": True,
            "writes": True,
        }
        process = {
            "span": f"span{number}",
            **dict.fromkeys(("description", "goal"), f"name{EVIL}"),
            "targets": [f"//:{EVIL}"],
            "argv": ["x", f"{EVIL}{number}"],
            "source": "Ran",
            "env": {f"V{EVIL}": f"{number}"},
            "asked": True,
        }
        state = cache.server.state
        request = urllib.request.Request(
            f"http://127.0.0.1:{state.admin_port}/v1/reports",
            json.dumps({"run": run, "processes": [process]}).encode(),
            {"Authorization": f"Bearer {state.token}"},
        )
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 200


def seen(cache: Lab, *words: str) -> str:
    """What a command prints, all of which can be seen."""
    shown = cache.text(*words)
    assert not [one for one in shown if not one.isprintable() and one not in "\n\t"], shown
    assert "all is well" in shown
    return shown


def test_past_actions(cache: Lab, actions: tuple[str, str]) -> None:
    one, other = actions
    root = cache.json("show", one)["action"]["input_root"]
    seen(cache, "show", one)
    for flags in ((), ("--digests",)):
        seen(cache, "tree", root, *flags)
    assert r"\x1b[2J" in seen(cache, "diff", one, other)
    shown = seen(cache, "diff", one, other, "--text", f"file{EVIL}")
    assert "-one\\x1b[2J\n" in shown


@pytest.mark.usefixtures("reported")
def test_runs(cache: Lab) -> None:
    seen(cache, "explain", "--details")
    seen(cache, "runs")
    for group in ("goal", "target", "user", "machine"):
        seen(cache, "savings", "--by", group)


@pytest.mark.usefixtures("actions")
def test_errors_and_logs(cache: Lab) -> None:
    refused = cache.run("show", f"0123{EVIL}")
    assert refused.returncode == 1
    assert "\x1b" not in refused.stderr
    log = Path(cache.server.state.data_dir) / LOG_FILE
    with log.open("a", encoding="utf-8") as file:
        file.write(f"a line of a client: {EVIL}\n")
    seen(cache, "logs")


def test_a_replayed_output_is_named_so(lab: Lab) -> None:
    name = "out\x1b[2J"
    action = lab.action(f"date +%N > '{name}'", outputs=[name])
    done = lab.run("replay", action)
    assert "\\x1b[2J" in done.stdout
    assert "\x1b" not in done.stdout
    assert text(lab.cached(action).output_files[0].digest) in done.stdout


def test_arguments_that_are_hard_to_compare_do_not_hold_up_the_server(cache: Lab) -> None:
    made = []
    for arguments in (["x", *["a", "b"] * 1500], ["x", *["b", "b", "a"] * 1000, "-v"]):
        action, *_ = cache.upload(*blobs_of(Command(arguments=arguments), Directory()))
        cache.keep_result(action, ActionResult())
        made.append(action)
    assert cache.json("diff", *made)["arguments"] == [{"at": 1, "a": [], "b": ["-v"]}]
