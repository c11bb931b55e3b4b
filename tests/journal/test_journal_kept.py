"""What a server is told and does is in its journal, and stays there."""

from __future__ import annotations

import signal
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from journal.journal_server import (
    Action,
    Run,
    answer,
    ask,
    digest_of,
    named,
    report,
    serving,
)
from journal.journal_server import database as opened
from server.process import Process, stop


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept") / "data"


@pytest.fixture(scope="module", autouse=True)
def server(data_dir: Path) -> Iterator[Process]:
    """One for the whole module; each test has runs of its own."""
    with serving(data_dir) as process:
        yield process


def test_look_ups_of_a_run_are_known_with_their_outcomes(data_dir: Path) -> None:
    run = Run(data_dir, "run-lookups")
    there, absent, broken = (Action(["true", name]).digest for name in "abc")
    run.write(there, stdout_raw=b"12345")
    lost = digest_of(b"never stored")
    run.write(broken, output_files=[{"path": "o", "digest": lost}])
    assert [run.look_up(action) for action in (absent, there, there, broken)] == [
        False,
        True,
        True,
        False,
    ]
    details = answer(data_dir, "/v1/runs/run-lookups")
    assert (details["run"]["hits"], details["run"]["misses"]) == (2, 2)
    assert details["run"]["saved_bytes"] == 10
    outcomes = {one["action"]: (one["outcome"], one["missing"]) for one in details["lookups"]}
    assert outcomes == {
        named(absent): ("absent", []),
        named(there): ("hit", []),
        named(broken): ("incomplete", [named(lost)]),
    }
    assert not details["run"]["reported"]


def test_a_result_that_says_absurd_numbers_is_kept(data_dir: Path) -> None:
    run, action = Run(data_dir, "run-absurd"), Action(["true", "absurd"]).digest
    ages = {
        "execution_start_timestamp": {"seconds": -(2**63)},
        "execution_completed_timestamp": {"seconds": 2**63 - 1, "nanos": -5},
    }
    run.write(action, stdout_raw=b"12345", execution_metadata=ages)
    assert run.look_up(action)
    details = answer(data_dir, "/v1/runs/run-absurd")["run"]
    assert (details["hits"], details["saved_bytes"]) == (1, 5)


def test_an_absent_run_is_told_from_one_that_was_forgotten_by_nobody(data_dir: Path) -> None:
    status, content = ask(data_dir, "GET", "/v1/runs/never-there")
    assert (status, content["error"]) == (404, "not-found")
    assert "never-there" in content["message"]


def test_runs_of_instances_are_apart(data_dir: Path) -> None:
    for instance in ("one", "two"):
        Run(data_dir, "run-instances").look_up(digest_of(b"x"), instance)
    Run(data_dir, "run-instances").look_up(digest_of(b"y"), "two")
    [run] = answer(data_dir, "/v1/runs", instance="two")["runs"]
    assert (run["run"], run["misses"]) == ("run-instances", 2)
    of_one = answer(data_dir, "/v1/runs/run-instances", instance="one")
    assert of_one["run"]["misses"] == 1


def test_a_process_that_is_reported_before_or_after_its_result_has_its_action(
    data_dir: Path,
) -> None:
    before, after = (Action(["run", name], {"A": "1"}) for name in ("before", "after"))
    other = Action(["run", "before"], {"A": "2"})
    run = Run(data_dir, "run-links")
    told = {"run": "run-links", "tool": "pants", "goals": ["test"]}
    first = {"span": "1", "source": "Ran", "asked": True, **before.process}
    assert report(data_dir, told, first) == {"kept": 1, "known": 0}
    for action in (before, after, other):
        run.store(action.command, action.blob)
        run.write(action.digest)
    second = {"span": "2", "source": "Ran", **after.process}
    assert report(data_dir, told, first, second) == {"kept": 1, "known": 1}
    processes = answer(data_dir, "/v1/runs/run-links")["processes"]
    assert [one["action"] for one in processes] == [named(before.digest), named(after.digest)]
    assert processes[0]["argv"] == ["run", "before"]


def test_of_actions_that_differ_in_the_timeout_alone_a_process_has_the_one_of_its_run(
    data_dir: Path,
) -> None:
    short, long = (Action(["run", "it"], timeout_s=seconds) for seconds in (1, 2))
    for action, name in ((short, "run-short"), (long, "run-long")):
        run = Run(data_dir, name)
        assert not run.look_up(action.digest)
        run.store(action.command, action.blob)
        run.write(action.digest)
        report(data_dir, {"run": name}, {"span": "1", "source": "Ran", **action.process})
    for action, name in ((short, "run-short"), (long, "run-long")):
        [process] = answer(data_dir, f"/v1/runs/{name}")["processes"]
        assert process["action"] == named(action.digest)


def test_secrets_are_in_the_journal_as_masks_alone(data_dir: Path) -> None:
    env = {"DEPLOY_TOKEN": "hush-hush", "INDEX": "https://me:hush-hush@host/simple", "A": "open"}
    action = Action(["tool", "--password=hush-hush", "--token", "hush-hush"], env)
    run = Run(data_dir, "run-secrets")
    run.store(action.command, action.blob)
    run.write(action.digest)
    told = {"run": "run-secrets", "command_line": "pants --index-password=hush-hush test ::"}
    report(data_dir, told, {"span": "1", "source": "HitRemotely", **action.process})
    details = answer(data_dir, "/v1/runs/run-secrets")
    [process] = details["processes"]
    assert process["action"] == named(action.digest)
    assert process["env"]["A"] == "open"
    assert process["env"]["DEPLOY_TOKEN"].startswith("<secret ")
    assert "hush" not in str(details)
    shown = answer(data_dir, f"/v1/objects/{named(action.digest)}")["command"]
    assert shown["arguments"] == process["argv"]
    assert sorted(shown["environment"]) == sorted(f"{n}={v}" for n, v in process["env"].items())
    with opened(data_dir) as connection:
        bodies = [
            zlib.decompress(row[0]) for row in connection.execute("SELECT body FROM definitions")
        ]
        reports = [row[0] for row in connection.execute("SELECT report FROM runs")]
    assert any(b"DEPLOY_TOKEN" in body for body in bodies)
    assert not any(b"hush-hush" in body for body in bodies)
    assert "hush-hush" not in str(reports)


def test_the_input_tree_of_a_miss_is_kept_once_the_store_has_it(data_dir: Path) -> None:
    action = Action(["compile"], content=b"print(1)")
    told = {"run": "run-trees"}
    report(data_dir, told, {"span": "1", "source": "Ran", "asked": True, **action.process})
    answer(data_dir, "/v1/runs/run-trees")
    assert kept_directories(data_dir, action) == 0
    Run(data_dir, "run-trees").store(action.root, action.inner)
    report(data_dir, told)  # as a reporter does when it has uploaded the inputs
    answer(data_dir, "/v1/runs/run-trees")
    answer(data_dir, "/v1/runs/run-trees")
    assert kept_directories(data_dir, action) == 2


def kept_directories(data_dir: Path, action: Action) -> int:
    with opened(data_dir) as connection:
        rows = connection.execute("SELECT body FROM directories").fetchall()
    bodies = [zlib.decompress(body) for (body,) in rows]
    return bodies.count(action.root) + bodies.count(action.inner)


def test_the_history_of_an_action_has_its_definition_results_and_removals(data_dir: Path) -> None:
    action, lost = Action(["build", "it"], {"A": "1"}), digest_of(b"lost")
    run = Run(data_dir, "run-history", action_mnemonic="Compile", target_id="//a:b")
    path = f"/v1/actions/{named(action.digest)}"
    assert ask(data_dir, "GET", path)[0] == 404
    assert not run.look_up(action.digest)
    run.store(action.command, action.blob)
    run.write(action.digest, output_files=[{"path": "o", "digest": lost}], exit_code=3)
    assert not run.look_up(action.digest)
    told = answer(data_dir, path)
    assert told["process"]["argv"] == ["build", "it"]
    assert told["process"]["env"] == {"A": "1"}
    assert told["process"]["description"] == "Compile //a:b"
    [result] = told["results"]
    assert (result["run"], result["exit_code"], result["executed"]) == ("run-history", 3, False)
    [removal] = told["removals"]
    assert (removal["reason"], removal["missing"]) == ("incomplete", [named(lost)])
    assert (told["executions"], told["evictions"]) == ([], [])
    assert ask(data_dir, "GET", "/v1/actions/xyz/1")[0] == 400


def test_the_input_trees_in_the_store_tell_which_file_changed(data_dir: Path) -> None:
    old, new = (Action(["compile"], content=content) for content in (b"old", b"new"))
    for name, action in (("run-old", old), ("run-between", old), ("run-new", new)):
        Run(data_dir, name).store(action.root, action.inner)
        told = {"span": "1", "description": "Compile it", "source": "Ran", "asked": True}
        report(data_dir, {"run": name, "reads": True}, {**told, **action.process})
    [explained] = answer(data_dir, "/v1/explanations", run="run-new")["explained"]
    assert [cause["text"] for cause in explained["causes"]] == ["src/a.py changed"]
    assert explained["compared"][0]["run"] == "run-between"


def test_names_that_no_encoding_has_are_kept(data_dir: Path) -> None:
    good = {"span": "good", "description": "lone surrogate \udc80", "source": "Ran"}
    assert report(data_dir, {"run": "run-odd"}, good)["kept"] == 1
    assert report(data_dir, {"run": "run-odd"}, {"span": "next"})["kept"] == 1


def test_all_is_there_after_a_restart_and_after_a_kill(tmp_path: Path) -> None:
    data_dir, action = tmp_path / "data", Action(["true"])
    with serving(data_dir) as process:
        Run(data_dir, "run-1").look_up(action.digest)
        report(data_dir, {"run": "run-1", "user": "me", "asked": 1}, {"span": "1"})
        stop(process)
    with serving(data_dir) as process:
        assert answer(data_dir, "/v1/runs")["runs"][0]["user"] == "me"
        run = Run(data_dir, "run-2")
        run.write(action.digest)
        hits = 0
        # The calls give the writer the time that it needs; nobody asks the server for a commit.
        while not (told := hits_in_the_file(data_dir, "run-2")):
            hits += run.look_up(action.digest)
        process.end(signal.SIGKILL)
    with serving(data_dir):
        latest, first = answer(data_dir, "/v1/runs")["runs"]
    assert (first["run"], first["misses"], first["asked"]) == ("run-1", 1, 1)
    assert latest["run"] == "run-2"
    assert told <= latest["hits"] <= hits


def hits_in_the_file(data_dir: Path, run: str) -> int:
    with opened(data_dir) as connection:
        row = connection.execute("SELECT hits FROM runs WHERE run = ?", (run,)).fetchone()
    return int(row[0]) if row else 0
