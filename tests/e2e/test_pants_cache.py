"""What the plugin promises: Pants' results come back from the server, and the counts agree."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.pants_repo import CHECKOUT, PLUGIN, PYTHON, Done, Machine, Repository, machine, pants_toml
from reapi_local_plugin import counted_run
from reapi_local_plugin.instance_name import instance_name

pytestmark = pytest.mark.slow

# base <- middle <- top, and three that nothing depends on.
MODULES = {
    "base.py": "def base(): return 1\n",
    "middle.py": "from base import base\ndef middle(): return base() + 1\n",
    "top.py": "from middle import middle\ndef top(): return middle() + 1\n",
    **{f"lone{n}.py": f"def lone{n}(): return {n}\n" for n in range(3)},
}
TESTS = {
    f"test_{name}": f"from {name[:-3]} import {name[:-3]}\ndef test(): assert {name[:-3]}() >= 0\n"
    for name in MODULES
}
BUILD = "python_sources()\npython_tests(name='tests')\n"
PYTHON_SETTINGS = """
[source]
root_patterns = ["/"]
[python]
interpreter_constraints = ["CPython==3.11.*"]
enable_resolves = true
resolves = { python-default = "pins.txt" }
resolves_generate_lockfiles = false
[python-bootstrap]
names = ["python3.11", "python3.9"]
[python-infer]
use_rust_parser = true
[pytest]
install_from_resolve = "python-default"
"""


def pins() -> str:
    """This project's own pins of pytest and what it needs."""
    text = (CHECKOUT / "requirements" / "dev.txt").read_text()
    wanted = "iniconfig|packaging|pluggy|pygments|pytest"
    return "".join(re.findall(rf"^(?:{wanted})==.+\n(?:    .+\n)*", text, re.MULTILINE))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("cache")) as made:
        yield made


@pytest.fixture(scope="module")
def repository(shop: Machine) -> Repository:
    made = shop.repository("first", pants_toml(PYTHON, PLUGIN, more=PYTHON_SETTINGS))
    made.write({**MODULES, **TESTS, "BUILD": BUILD, "pins.txt": pins()})
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.com"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *command], cwd=made.root, check=True)
    made.run("reapi-up").must_succeed()
    return made


@pytest.fixture(scope="module")
def first_run(shop: Machine, repository: Repository) -> Done:
    """The first run of all tests, which starts with nothing but the server."""
    return repository.run("test", "::").must_succeed()


def counted(shop: Machine, repository: Repository) -> tuple[int, int]:
    return shop.lookups(instance_name(None, repository.root))


def in_ledger(shop: Machine, repository: Repository) -> tuple[int, int, int]:
    """Look-ups, hits and milliseconds saved of the newest run, by `reapi-local savings`."""
    instance = instance_name(None, repository.root)
    run = shop.newest_run(instance)
    answer = shop.server.call("GET", f"/v1/savings?by=run&instance={instance}")["rows"]
    assert isinstance(answer, list)
    [row] = [row for row in answer if row["name"] == run["run"]]
    assert (row["asked"], row["cached"], row["saved_ms"]) == (
        run["asked"],
        run["cached"],
        run["saved_ms"],
    )
    return row["asked"], row["cached"], row["saved_ms"]


def as_pants_counts(done: Done) -> tuple[int, int, int]:
    names = ("requests", "requests_cached", "total_time_saved_ms")
    asked, cached, saved_ms = (done.counters.get(f"remote_cache_{name}", 0) for name in names)
    return asked, cached, saved_ms


def no_local_results(root: Path) -> list[str]:
    """Flags for a Pants that remembers no result."""
    return [f"--local-store-dir={root}/store"]


def nothing_local(root: Path) -> list[str]:
    """Flags for a Pants that remembers nothing, not even its tools."""
    return [*no_local_results(root), f"--named-caches-dir={root}/named"]


def test_the_first_run_misses_and_writes_every_result(
    shop: Machine, repository: Repository, first_run: Done
) -> None:
    hits, misses = first_run.lookups
    run = shop.newest_run(instance_name(None, repository.root))
    assert hits == 0
    assert misses >= len(TESTS) + 4
    assert (run["hits"], run["misses"]) == (hits, misses)
    assert in_ledger(shop, repository) == as_pants_counts(first_run)
    assert str(run["tool"]).startswith("pants")
    assert first_run.counters["remote_cache_write_successes"] == misses
    assert first_run.warnings == []


def test_an_empty_local_cache_is_served_by_the_server_alone(
    shop: Machine, repository: Repository, first_run: Done, tmp_path: Path
) -> None:
    before = counted(shop, repository)
    second = repository.run(*nothing_local(tmp_path), "test", "::").must_succeed()
    hits, misses = second.lookups
    run = shop.newest_run(instance_name(None, repository.root))
    after = counted(shop, repository)
    assert (hits, misses) == (first_run.lookups[1], 0)
    assert (run["hits"], run["misses"]) == (hits, misses)
    assert in_ledger(shop, repository) == as_pants_counts(second)
    assert (after[0] - before[0], after[1] - before[1]) == (hits, misses)
    assert second.err.count("cached remotely") == len(TESTS)
    check = repository.run(*nothing_local(tmp_path), "reapi-check").must_succeed()
    assert f"the last run used it: {hits} hits, {misses} misses" in check.out


def test_a_changed_source_runs_again_only_what_depends_on_it(
    shop: Machine, repository: Repository, first_run: Done, tmp_path: Path
) -> None:
    repository.write({"middle.py": MODULES["middle.py"].replace("1", "2")})
    changed = repository.run(*no_local_results(tmp_path), "test", "::").must_succeed()
    run = shop.newest_run(instance_name(None, repository.root))
    repository.write({"middle.py": MODULES["middle.py"]})
    # The tests of middle and of top.
    assert changed.lookups == (first_run.lookups[1] - 2, 2)
    assert (run["hits"], run["misses"]) == changed.lookups
    assert changed.counters["remote_cache_write_successes"] == 2


def test_another_worktree_without_the_daemon_is_served_what_the_first_one_wrote(
    shop: Machine, repository: Repository, first_run: Done, tmp_path: Path
) -> None:
    root = shop.root / "second"
    subprocess.run(["git", "worktree", "add", "-q", root], cwd=repository.root, check=True)
    worktree = shop.adopt(root)
    assert instance_name(None, root) == instance_name(None, repository.root)
    switches = ["--remote-cache-read", "--remote-cache-write"]
    done = worktree.run(*no_local_results(tmp_path), *switches, "test", "::", daemon=False)
    assert done.must_succeed().lookups == (first_run.lookups[1], 0)
    run = shop.newest_run(instance_name(None, root))
    assert (run["hits"], run["misses"]) == done.lookups
    # With the daemon, Pants may tell what it counted after the end of a run.
    known = counted_run.read(root / ".pants.d")
    assert (known.run, known.used, known.refused) == (run["run"], *done.lookups)
