"""What the plugin tells the server of a build, from Pants' workunits to the server's answers."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from journal.journal_server import Action, answer, digest_of, named, serving
from patience import PATIENCE_S
from reapi_contract.input_trees import InputTree
from reapi_contract.masks import Masks
from reapi_contract.run_reports import RunReport
from reapi_contract.state import State, read_state
from reapi_local_launcher.server.running import Running, find_in
from reapi_local_plugin.process_reports import ProcessCollector, process_report
from reapi_local_plugin.report_sender import ReportSender
from reapi_local_plugin.summary_line import summary_line

RUN = RunReport(run="pants_run_1", instance="shop", tool="pants", tool_version="2.17.1")
MASKS = Masks(b"key")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("reported") / "data"
    with serving(directory):
        yield directory


def definition(action: Action, **changes: Any) -> str:
    """A process as Pants 2.17 describes it in a workunit."""
    fingerprint, _, size = str(action.process["input_root"]).partition("/")
    inputs = {"digest": {"fingerprint": fingerprint, "size_bytes": int(size)}}
    told = {
        "argv": action.process["argv"],
        "env": {"LANG": "C.UTF-8", "API_TOKEN": "s3cret"},
        "working_directory": None,
        "input_digests": {"complete": inputs, "inputs": inputs, "immutable_inputs": {}},
        "output_files": ["report.xml"],
        "output_directories": [],
        "timeout": {"secs": 60, "nanos": 500_000_000},
        "description": "Run Pytest for //src:tests",
        "append_only_caches": {"pex_root": ".cache/pex_root"},
        "cache_scope": "Successful",
        "execution_environment": {"name": None, "platform": "Linux_x86_64", "strategy": "Local"},
    }
    return json.dumps({**told, **changes})


def process(span: str, action: Action, **changes: Any) -> dict[str, Any]:
    metadata = {
        "definition": definition(action, **changes),
        "source": "Ran",
        "exit_code": 0,
        "total_elapsed_ms": 428,
    }
    return {
        "name": "process",
        "span_id": span,
        "parent_ids": ["root"],
        "metadata": metadata,
        "start_secs": 1_795_908_077,
        "start_nanos": 500_000_000,
        "description": "Scheduling: x",
    }


def lookup(span: str) -> dict[str, Any]:
    return {"name": "check_action_cache", "span_id": "f" * 16, "parent_ids": [span]}


def test_a_process_is_told_with_what_decides_about_its_key() -> None:
    unit = process("1", Action(["pytest", "--password", "hunter2"]))
    told = process_report(unit, True, "test", MASKS)
    assert told is not None
    assert told.description == "Run Pytest for //src:tests"
    assert told.targets == ("//src:tests",)
    assert (told.timeout_ms, told.platform, told.strategy) == (60_500, "Linux_x86_64", "Local")
    assert (told.source, told.asked, told.elapsed_ms) == ("Ran", True, 428)
    assert told.started_at == 1_795_908_077.5
    assert told.caches == {"pex_root": ".cache/pex_root"}
    assert "s3cret" not in repr(told)
    assert "hunter2" not in repr(told)


@pytest.mark.parametrize(
    ("description", "targets"),
    [
        ("Run Pytest for //src:tests", ("//src:tests",)),
        ("Run Pytest for src/a/test_b.py:../tests", ("src/a/test_b.py:../tests",)),
        ("Building requirements.pex", ()),
        ("Find interpreter for constraints: CPython==3.11.*", ()),
        ("Run Pytest for 2 files.", ()),
        ("Running the `test_shell_command` at `src/it:slow`", ("src/it:slow",)),
    ],
)
def test_targets_are_found_in_descriptions(description: str, targets: tuple[str, ...]) -> None:
    unit = process("1", Action(["x"]), description=description)
    told = process_report(unit, True, "", MASKS)
    assert told is not None
    assert told.targets == targets


@pytest.mark.parametrize("text", ["{}", "[]", "not JSON", '{"argv": 3, "input_digests": {}}'])
def test_what_another_pants_says_differently_is_left_out(text: str) -> None:
    unit = process("1", Action(["x"]))
    unit["metadata"]["definition"] = text
    assert process_report(unit, True, "", MASKS) is None


def test_only_processes_are_taken_and_those_that_were_looked_up_are_known() -> None:
    collector = ProcessCollector()
    asked, local = process("1", Action(["a"])), process("2", Action(["b"]))
    assert not collector.processes([lookup("1"), {"name": "a rule", "span_id": "3"}])
    assert collector.processes([asked, local]) == [(asked, True), (local, False)]


def sender_to(data_dir: Path, *trees: InputTree) -> ReportSender:
    def read_trees(inputs: Mapping[str, str], wanted: Sequence[str]) -> Iterable[InputTree]:
        assert {*wanted} <= {*inputs.values()}
        return [tree for tree in trees if tree.root in wanted]

    return ReportSender(lambda: find_in(data_dir, PATIENCE_S), read_trees)


def test_a_run_is_told_with_its_processes_and_the_input_trees_of_misses(data_dir: Path) -> None:
    action = Action(["pytest"], content=b"test")
    root = str(action.process["input_root"])
    tree = InputTree(root, [("src/a.py", named(digest_of(b"test")), False)])
    sender = sender_to(data_dir, tree)
    sender.put(RUN, "test", [(process("1", action), True), (process("2", action), False)])
    sender.finish(RUN, PATIENCE_S)
    told = answer(data_dir, "/v1/runs/pants_run_1", instance="shop")
    assert [one["span"] for one in told["processes"]] == ["1", "2"]
    assert told["run"]["tool"] == "pants 2.17.1"
    assert "s3cret" not in json.dumps(told)
    sent = sender_to(data_dir)
    sent.put(RUN, "test", [(process("3", action), True)])
    sent.finish(RUN, PATIENCE_S)  # the server knows the tree now, so nobody is asked for it
    explained = answer(data_dir, "/v1/explanations", run="pants_run_1", instance="shop")
    assert {one["description"] for one in explained["explained"]} == {"Run Pytest for //src:tests"}


def test_without_a_server_a_build_ends_as_it_would_without_the_plugin(tmp_path: Path) -> None:
    sender = sender_to(tmp_path)
    sender.put(RUN, "test", [(process("1", Action(["x"])), True)])
    sender.finish(RUN, PATIENCE_S)


def test_a_server_that_never_answers_ends_the_sending_and_no_build() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        port = silent.getsockname()[1]
        state = State(1, "boot", 0.0, "1.0", "127.0.0.1", 1, port, "token", "/data", 0)
        found = Running(state, 1, "grpc://127.0.0.1:1", 0.0)
        sender = ReportSender(lambda: found, None)
        sender.put(RUN, "test", [(process("1", Action(["x"])), True)])
        sender.finish(RUN, PATIENCE_S)


def test_what_goes_wrong_in_a_report_is_nobody_elses_trouble(data_dir: Path) -> None:
    def read_trees(inputs: Mapping[str, str], wanted: Sequence[str]) -> Iterable[InputTree]:
        raise ValueError("Pants says it differently")

    sender = ReportSender(lambda: find_in(data_dir, PATIENCE_S), read_trees)
    sender.put(RUN, "test", [(process("9", Action(["x"], content=b"9")), True)])
    sender.finish(RUN, PATIENCE_S)
    told = answer(data_dir, "/v1/runs/pants_run_1", instance="shop")
    assert "9" in [one["span"] for one in told["processes"]]


def test_a_server_without_a_journal_is_told_nothing(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--journal", "off"):
        sender = sender_to(tmp_path / "data")
        sender.put(RUN, "test", [(process("1", Action(["x"])), True)])
        sender.finish(RUN, PATIENCE_S)
        assert read_state(tmp_path / "data") is not None
        assert answer(tmp_path / "data", "/v1/runs") == {"runs": []}


@pytest.mark.parametrize(
    ("asked", "cached", "saved_ms", "line"),
    [
        (0, 0, 0, ""),
        (2, 2, 1_500, "reapi: 2 of 2 from the cache, 1.5 s not run"),
        (3, 0, 0, "reapi: 0 of 3 from the cache · why 3 ran: pants reapi-explain"),
        (
            26,
            24,
            61_000,
            "reapi: 24 of 26 from the cache, 1 min 1 s not run · why 2 ran: pants reapi-explain",
        ),
    ],
)
def test_the_line_after_a_build_has_pants_own_numbers(
    asked: int, cached: int, saved_ms: int, line: str
) -> None:
    counters = {
        "remote_cache_requests": asked,
        "remote_cache_requests_cached": cached,
        "remote_cache_total_time_saved_ms": saved_ms,
    }
    assert summary_line({name: count for name, count in counters.items() if count}) == line
