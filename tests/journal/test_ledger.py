"""What the cache saved, in sums: over the admin interface, and as commands show it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from journal.journal_server import Action, Run, answer, ask, digest_of, report, serving
from reapi_contract.savings import GROUPS
from server.process import stop

ROOT = Path(__file__).resolve().parents[2]
DAY = 86400
NOON = int(time.time()) // DAY * DAY - 7 * DAY + DAY // 2
OUTPUT = b"o" * 1000
HIT = {"source": "HitRemotely", "asked": True}
RAN = {"source": "Ran", "asked": True}


def process(span: str, action: Action, kind: dict[str, Any], ms: int, *targets: str) -> Any:
    name = "saved_ms" if kind is HIT else "elapsed_ms"
    return {"span": span, "targets": targets, **action.process, **kind, name: ms}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a server that was told of three runs of Pants, saw one of Bazel, and was restarted."""
    data_dir = tmp_path_factory.mktemp("ledger") / "data"
    with serving(data_dir) as server:
        one, two, three = (Action(["run", name]) for name in ("one", "two", "three"))
        for run, action in (
            (Run(data_dir, "pants_run_1"), one),
            (Run(data_dir, "pants_run_1"), two),
        ):
            run.store(action.command, action.blob, OUTPUT)
            run.write(
                action.digest,
                output_files=[{"path": "o", "digest": digest_of(OUTPUT)}],
                execution_metadata={
                    "execution_start_timestamp": {"seconds": 100},
                    "execution_completed_timestamp": {"seconds": 103},
                },
            )
        for number, hits in ((1, []), (2, [one, two]), (3, [one])):
            run = Run(data_dir, f"pants_run_{number}")
            assert all(run.look_up(action.digest) for action in hits)
        told = {"tool": "pants", "user": "me", "machine": "desk", "goals": ["test"]}
        report(
            data_dir,
            {**told, "run": "pants_run_1", "started_at": NOON, "asked": 2, "uncached": 2},
            process("1", one, RAN, 3000, "//a"),
            process("2", two, RAN, 3000, "//a", "//b"),
        )
        report(
            data_dir,
            {**told, "run": "pants_run_2", "started_at": NOON + DAY, "asked": 3}
            | {"cached": 2, "saved_ms": 5901, "command_line": "pants test ::"},
            process("1", one, HIT, 2900, "//a"),
            process("2", two, HIT, 3001, "//a", "//b"),
            process("3", three, RAN, 70, "//c"),
        )
        report(
            data_dir,
            {**told, "run": "pants_run_3", "started_at": NOON + DAY, "asked": 1, "cached": 1}
            | {"saved_ms": 2900, "machine": "ci", "goals": ["lint", "check"]},
            process("1", one, HIT, 2900),
        )
        bazel = Run(data_dir, "bazel-run", tool="bazel")
        assert bazel.look_up(one.digest)
        assert not bazel.look_up(digest_of(b"other"))
        answer(data_dir, "/v1/runs/bazel-run")
        stop(server)
    return data_dir


@pytest.fixture(scope="module", autouse=True)
def server(data_dir: Path) -> Iterator[None]:
    with serving(data_dir):
        yield


def day_of(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def rows(data_dir: Path, by: str, **query: object) -> dict[str, list[int]]:
    told = answer(data_dir, "/v1/savings", by=by, **query)
    assert told["by"] == by
    return {
        row["name"]: [row[k] for k in ("asked", "cached", "saved_ms", "saved_bytes", "ran_ms")]
        for row in told["rows"]
    }


BAZEL = [2, 1, 3000, 1000, 0]
"""Without a report: what the server saw."""


def test_runs_have_the_counters_of_their_tool_or_what_the_server_saw(data_dir: Path) -> None:
    assert rows(data_dir, "run") == {
        "pants_run_1": [2, 0, 0, 0, 6000],
        "pants_run_2": [3, 2, 5901, 2000, 70],
        "pants_run_3": [1, 1, 2900, 1000, 0],
        "bazel-run": BAZEL,
    }


def test_targets_share_a_process_and_goals_have_all_of_it(data_dir: Path) -> None:
    assert rows(data_dir, "target") == {
        "//a": [4, 2, 2900 + 1501, 1500, 4500],
        "//b": [2, 1, 1500, 500, 1500],
        "//c": [1, 0, 0, 0, 70],
        "": [1, 1, 2900, 1000, 0],
    }
    assert rows(data_dir, "goal") == {
        "test": [5, 2, 5901, 2000, 6070],
        "lint check": [1, 1, 2900, 1000, 0],
    }


def test_users_machines_and_days_add_up_to_the_same(data_dir: Path) -> None:
    assert rows(data_dir, "user") == {"me": [6, 3, 8801, 3000, 6070], "": BAZEL}
    assert rows(data_dir, "machine") == {
        "desk": [5, 2, 5901, 2000, 6070],
        "ci": [1, 1, 2900, 1000, 0],
        "": BAZEL,
    }
    days = rows(data_dir, "day")
    assert days.pop(day_of(NOON)) == [2, 0, 0, 0, 6000]
    assert days.pop(day_of(NOON + DAY)) == [4, 3, 8801, 3000, 70]
    assert list(days.values()) == [BAZEL]


@pytest.mark.parametrize("by", GROUPS)
def test_the_total_is_that_of_all_runs_however_many_rows_are_shown(data_dir: Path, by: str) -> None:
    told = answer(data_dir, "/v1/savings", by=by, limit=1)
    assert len(told["rows"]) == 1
    total = told["total"]
    assert (total["runs"], total["asked"], total["cached"]) == (4, 8, 4)
    assert (total["saved_ms"], total["saved_bytes"]) == (8801 + 3000, 4000)


def test_days_limit_savings_and_costs_and_costs_are_counted(data_dir: Path) -> None:
    told = answer(data_dir, "/v1/savings", by="run", days=1)
    assert [row["name"] for row in told["rows"]] == ["bazel-run"]
    costs = told["costs"]
    assert costs["uploaded_bytes"] > 2 * len(OUTPUT)
    assert costs["disk_bytes"] > 0
    assert answer(data_dir, "/v1/savings", by="run", instance="other")["rows"] == []


@pytest.mark.parametrize(
    "query", ["by=week", "days=many", "limit=-1", "days=99999999999", "by=day&limit=x"]
)
def test_a_question_that_makes_no_sense_is_refused(data_dir: Path, query: str) -> None:
    status, content = ask(data_dir, "GET", f"/v1/savings?{query}&x")
    assert (status, content["error"]) == (400, "bad-request")


def shown(data_dir: Path, *words: str, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "reapi_local_launcher", *words, f"--data-dir={data_dir}"],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'pants-plugins'}:{ROOT / 'src'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def test_the_commands_show_it_in_eighty_columns_and_as_json(data_dir: Path) -> None:
    runs = shown(data_dir, "runs")
    assert "pants test ::" in runs
    assert "2 of 3" in runs
    assert "1 of 2" in runs
    sums = {by: shown(data_dir, "savings", f"--by={by}") for by in GROUPS}
    assert "12 s not run: 4 of 8 processes from the cache" in sums["day"]
    assert "lint check" in sums["goal"]
    assert "(no target)" in sums["target"]
    for text in (runs, *sums.values()):
        assert max(map(len, text.splitlines())) <= 80
    assert json.loads(shown(data_dir, "savings", "--json", "--by=user"))["total"]["runs"] == 4
    assert len(json.loads(shown(data_dir, "runs", "--json", "-n", "2"))["runs"]) == 2


def test_the_commands_say_what_to_do_without_a_server_or_a_journal(tmp_path: Path) -> None:
    for command in ("runs", "savings"):
        assert "reapi-local up" in shown(tmp_path / "none", command, status=1)
    with serving(tmp_path / "off", "--journal", "off"):
        assert "keeps no journal" in shown(tmp_path / "off", "savings", status=1)
        assert "No run" in shown(tmp_path / "off", "runs")
