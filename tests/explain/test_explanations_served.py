"""The explanations of a server process, from real calls and reports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from journal.journal_server import Action, Run, answer, ask, named, report, serving

SOURCE = "Run Pytest for //src:tests"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("explained") / "data"
    with serving(directory):
        yield directory


def tell(data_dir: Path, run: str, instance: str, *actions: Action, **changes: Any) -> None:
    """Tell of a run in which these actions ran, and of their input trees."""
    told = {"run": run, "instance": instance, "machine": "laptop", "reads": True, "writes": True}
    processes = [
        {
            **action.process,
            "span": f"{run}-{number}",
            "description": f"{SOURCE}{number}",
            "targets": [f"//src:tests{number}"],
            "source": "Ran",
            "asked": True,
            "exit_code": 0,
            "elapsed_ms": 1000,
            **changes,
        }
        for number, action in enumerate(actions)
    ]
    report(data_dir, told, *processes)
    roots = [action.process["input_root"] for action in actions]
    status, missing = ask(data_dir, "POST", "/v1/trees/missing", {"roots": roots})
    assert status == 200, missing
    for action in actions:
        if action.process["input_root"] in missing["roots"]:
            status, kept = ask(data_dir, "POST", "/v1/trees", tree_of(action))
            assert (status, kept) == (200, {"status": "kept"})


def tree_of(action: Action) -> dict[str, Any]:
    files = [["src/a.py", named_file(action), False]]
    return {"root": action.process["input_root"], "files": files, "links": [], "directories": []}


def named_file(action: Action) -> str:
    from journal.journal_server import digest_of

    return named(digest_of(action.file))


def causes(explanation: dict[str, Any]) -> list[list[str]]:
    return [[cause["text"] for cause in group["causes"]] for group in explanation["groups"]]


def test_the_file_that_changed_is_named_though_nobody_uploaded_it(data_dir: Path) -> None:
    tell(data_dir, "files-1", "files", Action(["pytest"], content=b"old"))
    tell(data_dir, "files-2", "files", Action(["pytest"], content=b"new"))
    explained = answer(data_dir, "/v1/explanations", run="files-2", instance="files")
    assert causes(explained) == [["src/a.py changed"]]
    assert explained["groups"][0]["milliseconds"] == 1000
    [process] = explained["explained"]
    assert process["compared"][0]["run"] == "files-1"
    assert process["compared"][0]["machine"] == "laptop"


def test_a_tree_that_is_not_what_it_is_said_to_be_is_refused(data_dir: Path) -> None:
    action = Action(["pytest"], content=b"truth")
    lie = tree_of(action)
    lie["files"][0][0] = "src/b.py"
    status, told = ask(data_dir, "POST", "/v1/trees", lie)
    assert status == 400
    assert action.process["input_root"] in told["message"]
    [root] = ask(data_dir, "POST", "/v1/trees/missing", {"roots": [lie["root"]]})[1]["roots"]
    assert root == lie["root"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"root": "x", "files": [], "links": [], "directories": []},
        {"root": "0" * 64 + "/1", "files": [["a"]], "links": [], "directories": []},
        {
            "root": "0" * 64 + "/1",
            "files": [["a//b", "0" * 64 + "/1", False]],
            "links": [],
            "directories": [],
        },
        {
            "root": "0" * 64 + "/1",
            "files": [["/a", "0" * 64 + "/1", False]],
            "links": [],
            "directories": ["x" * 10 + "/" * 300],
        },
    ],
)
def test_what_is_no_tree_is_refused_with_a_reason(data_dir: Path, body: object) -> None:
    status, told = ask(data_dir, "POST", "/v1/trees", body)
    assert status == 400
    assert told["message"]


def test_the_process_that_is_asked_for_is_explained_alone(data_dir: Path) -> None:
    one, two = Action(["one"]), Action(["two"])
    tell(data_dir, "alone-1", "alone", one, two)
    tell(data_dir, "alone-2", "alone", Action(["one", "-v"]), Action(["two", "-q"]))
    for process in ("tests1", "//src:tests1"):
        explained = answer(
            data_dir, "/v1/explanations", run="alone-2", instance="alone", process=process
        )
        assert causes(explained) == [["the argument -q is new"]]


def test_an_entry_that_was_evicted_or_never_written_is_said_to_be(data_dir: Path) -> None:
    action = Action(["written", "never"])
    tell(data_dir, "never-1", "never", action)
    tell(data_dir, "never-2", "never", action)
    explained = answer(data_dir, "/v1/explanations", run="never-2", instance="never")
    assert causes(explained) == [["it ran before, but its result was not written"]]


def test_an_entry_with_a_gap_is_named_with_the_blob_that_was_missing(data_dir: Path) -> None:
    action, gap = Action(["with", "a", "gap"]), Action([], content=b"never stored")
    first = Run(data_dir, "gap-1")
    first.store(action.blob, action.command)
    first.write(
        action.digest,
        "gap",
        output_files=[
            {
                "path": "o",
                "digest": {"hash": named_file(gap).partition("/")[0], "size_bytes": len(gap.file)},
            }
        ],
    )
    tell(data_dir, "gap-1", "gap", action)
    assert not Run(data_dir, "gap-2").look_up(action.digest, "gap")
    tell(data_dir, "gap-2", "gap", action)
    explained = answer(data_dir, "/v1/explanations", run="gap-2", instance="gap")
    assert causes(explained) == [
        [f"its cache entry was incomplete: blob {named_file(gap)} was missing"]
    ]


def test_without_a_report_the_actions_themselves_are_compared(data_dir: Path) -> None:
    before, after = Action(["cc", "-c", "a.c"]), Action(["cc", "-O2", "-c", "a.c"])
    for name, action in (("cc-1", before), ("cc-2", after)):
        run = Run(data_dir, name, "bazel", action_mnemonic="CppCompile", target_id="//:a")
        assert not run.look_up(action.digest, "cc")
        run.store(action.blob, action.command)
        run.write(action.digest, "cc")
    explained = answer(data_dir, "/v1/explanations", run="cc-2", instance="cc")
    assert causes(explained) == [["the argument -O2 is new"]]
    assert explained["explained"][0]["description"] == "CppCompile //:a"
    assert "reported no processes" in explained["notes"][0]


def test_what_another_process_of_the_run_made_has_its_cause(data_dir: Path) -> None:
    """The archive differs because its source does; the test uses the archive alone."""
    for run, content in (("made-1", b"old"), ("made-2", b"new")):
        make, use = Action(["zip"], content=content), Action(["test"], content=b"zip " + content)
        client = Run(data_dir, run)
        client.store(make.blob, make.command, use.file)
        tell(data_dir, run, "made", make, use)
        assert not client.look_up(make.digest, "made")
        client.write(
            make.digest,
            "made",
            output_files=[
                {
                    "path": "lib.zip",
                    "digest": {
                        "hash": named_file(use).partition("/")[0],
                        "size_bytes": len(use.file),
                    },
                }
            ],
        )
    explained = answer(data_dir, "/v1/explanations", run="made-2", instance="made")
    [group] = explained["groups"]
    assert [cause["text"] for cause in group["causes"]] == ["src/a.py changed"]
    assert group["causes"][0]["after"] == named_file(Action([], content=b"new"))
    assert len(group["spans"]) == 2


def test_the_newest_run_that_asked_is_explained_if_none_is_named(data_dir: Path) -> None:
    run = Run(data_dir, "newest")
    assert not run.look_up(Action(["newest"]).digest, "newest")
    explained = answer(data_dir, "/v1/explanations", instance="newest")
    assert explained["run"]["run"] == "newest"


def test_a_run_that_nobody_knows_is_not_found(data_dir: Path) -> None:
    status, told = ask(data_dir, "GET", "/v1/explanations", run="nobody's")
    assert status == 404
    assert "nobody's" in told["message"]


def test_a_run_that_was_told_not_to_ask_is_the_newest_too(data_dir: Path) -> None:
    action = Action(["silent"])
    tell(data_dir, "silent-1", "silent", action)
    told = {"run": "silent-2", "instance": "silent", "reads": False, "writes": True}
    process = {"span": "1", "description": "x", "source": "Ran", "elapsed_ms": 5}
    report(data_dir, told, {**process, **action.process, "cache_scope": "Successful"})
    explained = answer(data_dir, "/v1/explanations", instance="silent")
    assert explained["run"]["run"] == "silent-2"
    assert causes(explained) == [["reading the remote cache was switched off"]]
