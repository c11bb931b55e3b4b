"""`reapi-explain` names what was changed where every process runs on the server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.pants_repo import PLUGIN, SHELL, Machine, machine, pants_toml
from e2e.test_pants_explain import FILES, Place, make_executable

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("explain-execution")) as made:
        yield made


@pytest.fixture(scope="module")
def place(shop: Machine) -> Place:
    repository = shop.repository("repo", pants_toml(SHELL, PLUGIN))
    repository.write(FILES)
    repository.run("reapi-up", "--execution").must_succeed()
    made = Place(repository)
    made.test().must_succeed()
    assert made.causes() == ["it was never seen before"]
    return made


def test_what_was_changed_is_the_cause_and_the_action_is_known(place: Place) -> None:
    place.write("deep/c.txt", "new")
    place.build("timeout=60", "timeout=90")
    make_executable(place)
    done = place.test().must_succeed()
    explanation = place.explain()
    [group] = explanation["groups"]
    assert [cause["text"] for cause in group["causes"]] == [
        "its timeout is 90 s, and was 60 s",
        "deep/c.txt changed",
        "src/run.sh is now executable",
    ]
    [explained] = explanation["explained"]
    assert explained["action"]
    assert (explanation["run"]["asked"], explanation["run"]["uncached"]) == (1, done.lookups[1])


def test_a_failure_that_runs_again_is_known_as_one(place: Place) -> None:
    place.build('command="cat src/a.txt;', 'command="cat src/a.txt; exit 1;')
    assert place.test().status
    place.repository.end_daemon()
    assert place.test().status
    assert place.causes() == ["it failed before, and failures are not cached"]
    place.build("exit 1;", "")


def test_what_the_cache_had_is_explained_by_nothing(place: Place) -> None:
    place.write("src/a.txt", "for a hit")
    place.test().must_succeed()
    place.repository.forget_local_store()
    done = place.test().must_succeed()
    explanation = place.explain()
    assert done.lookups == (1, 0)
    assert explanation["groups"] == []
    assert explanation["run"]["saved_ms"] == done.counters["remote_cache_total_time_saved_ms"]


def test_where_it_runs_is_a_cause(place: Place) -> None:
    place.flags.append("--no-remote-execution")
    place.test().must_succeed()
    [cause] = [one for one in place.causes() if one.startswith("it runs")]
    assert cause == "it runs on the client's machine now, and before it ran on the server"
    place.flags.clear()
