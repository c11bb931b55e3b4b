"""The server goes on whatever becomes of its journal, and the journal recovers."""

from __future__ import annotations

import os
import urllib.request
from pathlib import Path

import pytest

from file_systems import small_file_system
from journal.journal_server import (
    Action,
    Run,
    answer,
    ask,
    database,
    digest_of,
    report,
    serving,
)
from server.process import state_of, stop

MIB = 1024 * 1024
DROPPED = "reapi_journal_dropped_total"


def metric(data_dir: Path, name: str) -> float:
    state = state_of(data_dir)
    request = urllib.request.Request(
        f"http://127.0.0.1:{state['admin_port']}/metrics",
        headers={"Authorization": f"Bearer {state['token']}"},
    )
    with urllib.request.urlopen(request) as response:
        text = response.read().decode()
    [line] = (line for line in text.splitlines() if line.startswith(f"{name} "))
    return float(line.split()[1])


def test_nobody_waits_for_a_journal_that_is_held_and_what_has_no_room_is_counted(
    tmp_path: Path,
) -> None:
    data_dir, action = tmp_path / "data", digest_of(b"large")
    with serving(data_dir) as process:
        run = Run(data_dir, "run")
        run.write(action, stdout_raw=b"x" * MIB)
        assert run.look_up(action)
        assert answer(data_dir, "/v1/runs")["runs"][0]["hits"] == 1
        with database(data_dir) as other:
            other.execute("BEGIN IMMEDIATE")
            assert run.look_up(action)
            process.logged("can't be written")
            while not metric(data_dir, DROPPED):
                assert run.look_up(action)
            status, content = ask(data_dir, "POST", "/v1/reports", {"run": {"run": "r"}})
            assert status == 503, content
            assert answer(data_dir, "/v1/runs")["runs"][0]["hits"] == 1
            other.execute("ROLLBACK")
        process.logged("is written again")
        hits = answer(data_dir, "/v1/runs")["runs"][0]["hits"]
        assert run.look_up(action)
        assert answer(data_dir, "/v1/runs")["runs"][0]["hits"] == hits + 1 > 2
        assert answer(data_dir, "/v1/savings")["dropped"] == metric(data_dir, DROPPED)


@pytest.mark.parametrize("content", [b"", b"not a database" * 1000, b"SQLite format 3\0" * 500])
def test_a_journal_that_is_damaged_is_set_aside_and_a_new_one_begins(
    tmp_path: Path, content: bytes
) -> None:
    data_dir, action = tmp_path / "data", Action(["true"])
    file = data_dir / "journal" / "journal.db"
    with serving(data_dir) as process:
        Run(data_dir, "run-1").look_up(action.digest)
        assert answer(data_dir, "/v1/runs")["runs"]
        stop(process)
    file.write_bytes(content)
    with serving(data_dir):
        Run(data_dir, "run-2").look_up(action.digest)
        assert [run["run"] for run in answer(data_dir, "/v1/runs")["runs"]] == ["run-2"]
    aside = data_dir / "journal" / "damaged.db"
    assert (aside.read_bytes() if aside.exists() else b"") == content


def test_a_journal_that_is_damaged_while_the_server_runs_is_replaced(tmp_path: Path) -> None:
    data_dir, action = tmp_path / "data", Action(["true"])
    file = data_dir / "journal" / "journal.db"
    with serving(data_dir) as process:
        run = Run(data_dir, "run-1")
        run.look_up(action.digest)
        assert answer(data_dir, "/v1/runs")["runs"]
        for path in file.parent.glob("journal.db*"):
            size = path.stat().st_size
            with path.open("r+b") as opened:
                opened.write(os.urandom(size))
        while ask(data_dir, "GET", "/v1/runs")[0] != 200:
            run.look_up(action.digest)
        report(data_dir, {"run": "run-2"}, {"span": "1"})
        assert answer(data_dir, "/v1/runs/run-2")["processes"]
        assert process.popen.poll() is None


def test_a_journal_that_is_deleted_while_the_server_runs_begins_anew(tmp_path: Path) -> None:
    data_dir, action = tmp_path / "data", Action(["true"])
    with serving(data_dir):
        run = Run(data_dir, "run-1")
        run.look_up(action.digest)
        assert answer(data_dir, "/v1/runs")["runs"]
        for path in (data_dir / "journal").glob("journal.db*"):
            path.unlink()
        while ask(data_dir, "GET", "/v1/runs")[0] != 200:
            run.look_up(action.digest)
        report(data_dir, {"run": "run-2"})
        assert answer(data_dir, "/v1/runs/run-2")


def test_a_full_disk_stops_the_journal_and_nothing_else(tmp_path: Path) -> None:
    data_dir, action = tmp_path / "data", Action(["true"])
    data_dir.mkdir(0o700)
    with small_file_system(data_dir / "journal", "size=2m,mode=700") as disk:
        others = disk / "others"
        others.write_bytes(bytes(2 * MIB))
        with serving(data_dir) as process:
            process.logged("can't be written")
            run = Run(data_dir, "run")
            run.write(action.digest)
            assert run.look_up(action.digest)
            assert ask(data_dir, "GET", "/v1/runs")[0] == 503
            others.unlink()
            process.logged("is written again")
            assert answer(data_dir, "/v1/runs")["runs"][0]["hits"] == 1


def test_without_a_journal_runs_are_counted_and_nothing_is_kept(tmp_path: Path) -> None:
    data_dir, action = tmp_path / "data", Action(["true"])
    with serving(data_dir, "--journal", "off"):
        Run(data_dir, "run").look_up(action.digest)
        [run] = answer(data_dir, "/v1/runs")["runs"]
        assert (run["run"], run["misses"]) == ("run", 1)
        assert answer(data_dir, "/v1/reports") == {"keeps": False, "secrets_key": ""}
        assert report(data_dir, {"run": "run"}, {"span": "1"}) == {"kept": 0, "known": 0}
        for path in ("/v1/savings", "/v1/runs/run"):
            status, content = ask(data_dir, "GET", path)
            assert status == 409
            assert "journal" in content["message"]
    assert not (data_dir / "journal").exists()


def test_the_journal_keeps_its_size_and_the_newest(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with serving(data_dir, "--journal-size", "2MiB"):
        for number in range(24):
            run = {"run": f"run-{number:02}", "saved_ms": 10, "started_at": 1e9 + number}
            processes = [
                {"span": str(span), "argv": [os.urandom(400).hex()], "source": "Ran"}
                for span in range(400)
            ]
            assert report(data_dir, run, *processes)["kept"] == 400
            size = (data_dir / "journal" / "journal.db").stat().st_size
            assert size <= 2 * MIB
        runs = answer(data_dir, "/v1/runs", limit=100)["runs"]
        assert runs[0]["run"] == "run-23"
        assert len(answer(data_dir, "/v1/runs/run-23")["processes"]) == 400
        assert len(runs) == 24
        assert answer(data_dir, "/v1/savings", by="day")["total"]["saved_ms"] == 240
