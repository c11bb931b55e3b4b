"""`reapi-explain` names what was changed, in a real repository, one change at a time.

Where Pants only uses the cache. The processes need nothing but a shell.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from e2e.pants_repo import (
    PLUGIN,
    PLUGINS,
    SHELL,
    SWITCHES,
    Machine,
    Repository,
    machine,
    pants_toml,
)

pytestmark = pytest.mark.slow

BUILD = """
files(name="deep", sources=["deep/*.txt"])
files(name="src", sources=["src/*"], dependencies=[":deep"])
experimental_test_shell_command(
    name="it", command="cat src/a.txt; echo $BUILD_ID", tools=["cat"],
    execution_dependencies=[":src"], extra_env_vars=["BUILD_ID", "API_TOKEN"], timeout=60,
)
"""
FILES = {
    "src/a.txt": "a",
    "src/b.txt": "b",
    "src/run.sh": "echo",
    "deep/c.txt": "c",
    "BUILD": BUILD,
}


@dataclass
class Place:
    """The repository, and what its next runs are started with."""

    repository: Repository
    flags: list[str] = field(default_factory=list)

    def test(self, *, daemon: bool = True) -> Any:
        return self.repository.run(*self.flags, "test", "::", daemon=daemon)

    def explain(self, *flags: str, daemon: bool = True) -> dict[str, Any]:
        done = self.repository.run("reapi-explain", "--format=json", *flags, daemon=daemon)
        answer = json.loads(done.must_succeed().out)
        assert isinstance(answer, dict)
        return answer

    def causes(self, *, daemon: bool = True) -> list[str]:
        """The causes of the run before; there is one group."""
        explanation = self.explain(daemon=daemon)
        [group] = explanation["groups"]
        return [cause["text"] for cause in group["causes"]]

    def write(self, path: str, text: str) -> None:
        self.repository.write({path: text})

    def build(self, old: str, new: str) -> None:
        path = self.repository.root / "BUILD"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("explain")) as made:
        yield made


@pytest.fixture(scope="module")
def place(shop: Machine) -> Place:
    repository = shop.repository("repo", pants_toml(SHELL, PLUGIN, settings=SWITCHES))
    repository.write(FILES)
    made = Place(repository)
    made.test().must_succeed()
    assert made.causes() == ["it was never seen before"]
    return made


def env(name: str, value: str) -> Callable[[Place], None]:
    return lambda place: place.repository.set_env(name, value)


def make_executable(place: Place) -> None:
    """Pants' daemon notices no change of a mode alone."""
    (place.repository.root / "src" / "run.sh").chmod(0o755)
    place.repository.end_daemon()


CHANGES: dict[str, tuple[Callable[[Place], object], list[str]]] = {
    "a source": (lambda p: p.write("src/a.txt", "new"), ["src/a.txt changed"]),
    "a transitive one": (lambda p: p.write("deep/c.txt", "new"), ["deep/c.txt changed"]),
    "a new file": (lambda p: p.write("src/n.txt", "n"), ["src/n.txt is new"]),
    "a renamed file": (
        lambda p: (p.repository.root / "src/n.txt").rename(p.repository.root / "src/m.txt"),
        ["src/n.txt is now src/m.txt"],
    ),
    "a mode": (make_executable, ["src/run.sh is now executable"]),
    "a deleted file": (
        lambda p: (p.repository.root / "src/run.sh").unlink(),
        ["src/run.sh is gone"],
    ),
    "a variable": (env("BUILD_ID", "7"), ["the variable BUILD_ID 7 is new"]),
    "its value": (env("BUILD_ID", "8"), ["the variable BUILD_ID is 8, and was 7"]),
    "a secret": (env("API_TOKEN", "one"), ["the variable API_TOKEN is new"]),
    "another secret": (
        env("API_TOKEN", "two"),
        ["the variable API_TOKEN changed; its values are secret"],
    ),
    "a timeout": (
        lambda p: p.build("timeout=60", "timeout=90"),
        ["its timeout is 90 s, and was 60 s"],
    ),
    "two at once": (
        lambda p: (p.write("src/b.txt", "new"), env("BUILD_ID", "9")(p)),
        ["the variable BUILD_ID is 9, and was 8", "src/b.txt changed"],
    ),
    "the salt": (
        lambda p: p.flags.append("--process-execution-cache-namespace=other"),
        ["the cache's salt changed"],
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_was_changed_is_the_cause(place: Place, name: str) -> None:
    change, causes = CHANGES[name]
    change(place)
    place.test().must_succeed()
    assert place.causes() == causes


def test_a_failure_that_runs_again_is_known_as_one(place: Place) -> None:
    place.build('command="cat src/a.txt;', 'command="cat src/a.txt; exit 1;')
    assert place.test().status
    place.repository.end_daemon()
    assert place.test().status
    assert place.causes() == ["it failed before, and failures are not cached"]
    place.build("exit 1;", "")


def test_a_hit_is_explained_by_nothing_and_counted_as_pants_does(place: Place) -> None:
    place.build("cat src/a.txt;", "cat src/a.txt; read -t 4 <> <(:);")
    place.test().must_succeed()
    place.repository.forget_local_store()
    done = place.test().must_succeed()
    assert done.lookups == (1, 0)
    explanation = place.explain()
    assert explanation["groups"] == []
    run = explanation["run"]
    assert (run["asked"], run["cached"], run["uncached"]) == (1, 1, 0)
    assert run["saved_ms"] == done.counters["remote_cache_total_time_saved_ms"]


def test_a_run_that_was_told_not_to_ask_is_explained_by_that(place: Place) -> None:
    place.repository.forget_local_store()
    place.flags.append("--no-remote-cache-read")
    place.test().must_succeed()
    place.flags.pop()
    assert place.causes() == ["reading the remote cache was switched off"]


def test_what_the_store_has_lost_is_known_to_have_been_there(place: Place, shop: Machine) -> None:
    purge = [sys.executable, "-m", "reapi_local_launcher", "purge", "--yes"]
    environment = shop.env | {"PYTHONPATH": os.pathsep.join(PLUGINS)}
    subprocess.run(purge, env=environment, check=True, capture_output=True)
    place.repository.forget_local_store()
    place.test().must_succeed()
    assert place.causes() == ["its cache entry is gone: it was evicted, or the store was purged"]


def test_without_the_daemon_it_is_the_same(place: Place) -> None:
    place.write("src/a.txt", "without a daemon")
    place.test(daemon=False).must_succeed()
    assert place.causes(daemon=False) == ["src/a.txt changed"]


def test_a_process_is_shown_with_what_it_was_compared_with(place: Place) -> None:
    place.write("src/a.txt", "shown")
    place.test().must_succeed()
    text = place.repository.run("reapi-explain", "--process=//:it").must_succeed().out
    assert "src/a.txt changed" in text
    assert "compared with the run of" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("daemon", [True, False])
def test_the_line_after_a_build_is_for_terminals(place: Place, daemon: bool) -> None:
    place.write("src/a.txt", f"on a terminal, {daemon}")
    shown = place.repository.run_on_a_terminal(*place.flags, "test", "::", daemon=daemon)
    assert shown.count("reapi:") == 1
    assert "reapi: 0 of 1 from the cache · why 1 ran: pants reapi-explain" in shown
    assert "remote_cache_requests: 1\r" in shown
    if daemon:  # nothing is asked when nothing changed
        assert "reapi:" not in place.repository.run_on_a_terminal(*place.flags, "test", "::")
    place.write("src/a.txt", f"into a pipe, {daemon}")
    assert "reapi:" not in place.test(daemon=daemon).err


def test_what_is_switched_off_is_not_told(place: Place, shop: Machine) -> None:
    before = shop.newest_run(place.explain()["run"]["instance"])["run"]
    place.flags.append("--no-reapi-report")
    place.write("src/a.txt", "not told")
    place.test().must_succeed()
    explanation = place.explain()
    assert explanation["run"]["run"] != before
    assert not explanation["run"]["reported"]


def test_without_a_server_nothing_is_said_and_nothing_fails(shop: Machine, tmp_path: Path) -> None:
    repository = shop.repository(
        "alone",
        pants_toml(SHELL, PLUGIN, settings=SWITCHES, reapi="autostart = false\nport = 1"),
    )
    repository.write({"BUILD": 'experimental_test_shell_command(name="x", command=":", tools=[])'})
    done = repository.run("test", "--reapi-data-dir=" + str(tmp_path / "none"), "::")
    assert done.status == 0, done.err
