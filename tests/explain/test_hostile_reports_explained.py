"""Reports that are made to keep the server busy, or to learn about others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from journal.journal_server import answer, ask, database, report, serving
from reapi_local.explain.journal_reader import JournalReader, find_run
from reapi_local.explain.of_run import explanation, find_causes


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("hostile") / "data"
    with serving(directory):
        yield directory


def tell(data_dir: Path, run: str, instance: str, *argvs: list[str], **fields: Any) -> None:
    """Tell of a run in which processes with these arguments ran."""
    told = {"run": run, "instance": instance, "reads": True, "writes": True}
    processes = [
        {
            "span": f"{run}-{number}",
            "description": "Run Pytest",
            "argv": argv,
            "source": "Ran",
            "asked": True,
            "exit_code": 0,
            "elapsed_ms": 1000,
            **fields,
        }
        for number, argv in enumerate(argvs)
    ]
    report(data_dir, told, *processes)


def texts(explained: dict[str, Any]) -> list[str]:
    return [cause["text"] for group in explained["groups"] for cause in group["causes"]]


def test_arguments_that_are_hard_to_compare_take_no_minutes(data_dir: Path) -> None:
    tell(data_dir, "hard-1", "hard", *[["test", *["a", "b"] * 1500]] * 50)
    tell(data_dir, "hard-2", "hard", *[["test", *["b", "b", "a"] * 1000, "-v"]] * 20)
    explained = answer(data_dir, "/v1/explanations", run="hard-2", instance="hard")
    assert texts(explained) == ["the argument -v is new"]


def test_an_explanation_of_one_instance_tells_nothing_of_the_others(data_dir: Path) -> None:
    tell(data_dir, "others", "others", ["test", "--customer=theirs"])
    tell(data_dir, "own", "own", ["test", "--customer=own"])
    own = answer(data_dir, "/v1/explanations", run="own", instance="own")
    assert texts(own) == ["it was never seen before"]
    assert "theirs" not in str(own)
    everything = answer(data_dir, "/v1/explanations", run="own")
    assert "theirs" in str(everything)


def test_what_takes_too_long_is_left_out_and_told(data_dir: Path) -> None:
    tell(data_dir, "long", "long", *[["test", str(number)] for number in range(3)])
    answer(data_dir, "/v1/runs", instance="long")
    with database(data_dir) as connection:
        found = find_run(connection, "long", "long")
        assert found is not None
        number, summary = found
        reader = JournalReader(connection, None)
        told = explanation(find_causes(summary, number, reader, "", lambda: True), {})
    assert len(told.explained) == 1
    assert told.notes == ("Only the first 1 of 3 processes that ran are explained.",)


def test_definitions_of_many_megabytes_are_not_all_in_memory(data_dir: Path) -> None:
    large = ["test", "x" * (3 * 1024 * 1024)]
    for number in range(6):
        tell(data_dir, f"large-{number}", "large", [*large, str(number)])
    answer(data_dir, "/v1/runs", instance="large")
    with database(data_dir) as connection:
        found = find_run(connection, "large-5", "large")
        assert found is not None
        reader = JournalReader(connection, None)
        [row] = reader.ran(found[0])
        earlier = reader.earlier(row)
    assert [one.process.origin.run for one in earlier] == ["large-4", "large-3"]


def test_answers_about_runs_are_not_longer_than_a_client_takes(data_dir: Path) -> None:
    for number in range(4):
        argv = ["test", "x" * (5 * 1024 * 1024), f"{number}"]
        tell(data_dir, "long-answer", "long-answer", argv, span=f"{number}")
        run = {"run": f"{number}", "instance": "lines", "command_line": "x" * (5 * 1024 * 1024)}
        report(data_dir, run)
    details = answer(data_dir, "/v1/runs/long-answer", instance="long-answer")
    assert (len(details["processes"]), details["truncated"]) == (3, True)
    runs = answer(data_dir, "/v1/runs", instance="lines", limit=100)["runs"]
    assert [one["run"] for one in runs] == ["3", "2", "1"]


@pytest.mark.parametrize("path", ["/v1/places", "/v1/check"])
def test_a_body_that_is_too_large_is_refused(data_dir: Path, path: str) -> None:
    body = {"repository": str(data_dir.parent), "tools": ["/" * 1000] * 2000, "instance": ""}
    status, told = ask(data_dir, "POST", path, body)
    assert status == 400
    assert "send a body of at most" in told["message"]
