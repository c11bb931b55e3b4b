"""`reapi-local logs`: the end of the server's log, and what comes after it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from launcher.harness import Site
from patience import PATIENCE_S


@pytest.fixture
def log(site: Site) -> Path:
    site.data_dir.mkdir(parents=True)
    return site.data_dir / "server.log"


def test_the_last_lines_of_the_servers_log_are_shown(site: Site) -> None:
    site.json("up")

    assert "serving" in site.run("logs").stdout


@pytest.mark.parametrize("count", [0, 1, 3, 5000, 20000])
def test_as_many_lines_are_shown_as_are_asked_for(site: Site, log: Path, count: int) -> None:
    lines = [f"line {number} żółć\n" for number in range(12_000)]
    log.write_text("".join(lines), encoding="utf-8")

    done = site.run("logs", "-n", str(count))

    assert done.stdout.splitlines(keepends=True) == lines[max(0, len(lines) - count) :]


def test_a_log_that_is_no_text_is_shown_all_the_same(site: Site, log: Path) -> None:
    log.write_bytes(b"\xff\xfe and no line break")

    assert site.run("logs").stdout.endswith(" and no line break")


def test_it_follows_the_log_also_into_that_of_the_next_server(site: Site, log: Path) -> None:
    log.write_text("old\n")
    with site.start("logs", "--follow", "-n1") as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "old\n"
        with log.open("a") as file:
            file.write("new ")
            file.flush()
            file.write("line\n")
        assert following.stdout.readline() == "new line\n"
        with log.open("a") as file:
            file.write("last\n")
        log.rename(log.with_name("server.log.1"))
        log.write_text("first of the next\n")
        assert following.stdout.readline() == "last\n"
        assert following.stdout.readline() == "first of the next\n"
        following.send_signal(signal.SIGINT)
        assert following.wait(timeout=PATIENCE_S) == 130


def test_without_a_log_it_says_who_writes_one(site: Site) -> None:
    done = site.run("logs", "-f")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: There is no log.\n")
    assert "remedy: Start a server with `reapi-local up`.\n" in done.stderr


def test_a_reader_that_goes_away_is_no_error(site: Site, log: Path) -> None:
    log.write_text("x\n" * 500_000)
    with site.start("logs", "-n", "500000") as reading:
        assert reading.stdout is not None
        reading.stdout.readline()
        reading.stdout.close()
        assert reading.stderr is not None
        assert reading.stderr.read() == ""
        assert reading.wait(timeout=PATIENCE_S) == 0
