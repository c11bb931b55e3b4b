"""`reapi-up --execution`, and `reapi-check` after it, on a stand-in for the server."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from launcher.harness import REAL, Site, with_tls
from reapi_contract import admin_api, challenge
from reapi_contract.proof import Proof
from reapi_contract.state import State
from reapi_local_launcher.cli.terminal import PLAIN
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.server import admin_client
from reapi_local_plugin.conflicts import execution_conflicts
from reapi_local_plugin.goal_report import down_json, down_text, up_json, up_text
from reapi_local_plugin.goal_results import Up
from reapi_local_plugin.goal_runner import GoalRunner
from reapi_local_plugin.pants_config.switches import switch_off

pytestmark = pytest.mark.skipif(REAL, reason="the stand-in says what it is told to offer")

EXECUTE = "remote_execution = true"
PYTHON = "/usr/bin/python3"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "installed")
    made.set_version("1000.0")  # newer than this checkout, so it is kept
    yield made
    made.clean_up()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "repository"
    made.mkdir()
    return made


def runner(
    site: Site,
    root: Path,
    environments: Sequence[str] = (),
    asked: dict[str, Any] | None = None,
    **pants: Any,
) -> GoalRunner:
    """`asked`: values of [reapi] other than the defaults; `pants`: of [GLOBAL]."""
    reapi = SimpleNamespace(
        address="auto",
        token_path=None,
        mode="cache",
        data_dir=str(site.data_dir),
        port=0,
        max_size=None,
        idle_exit=0,
        server_python=None,
        slots=0,
        hermetic=False,
        sandbox="auto",
        show=[],
    )
    vars(reapi).update(asked or {})
    defaults = {
        "backend_packages": [],
        "plugins": [],
        "pants_config_files": ["pants.toml"],
        "remote_store_address": None,
        "remote_execution_address": None,
        "remote_cache_read": True,
        "remote_cache_write": True,
        "remote_execution": False,
        "process_execution_remote_parallelism": 128,
        "pants_workdir": str(root),
    }
    return GoalRunner(
        reapi=reapi,
        pants=SimpleNamespace(**{**defaults, **pants}),
        environments=environments,
        build_root=root,
        env=site.env,
        instance="main",
        python=PYTHON,
    )


def up(made: GoalRunner) -> Up:
    return made.up(lambda line: None, execution=True)


def refusal(made: GoalRunner) -> LauncherError:
    with pytest.raises(LauncherError) as raised:
        up(made)
    return raised.value


def configured(made: GoalRunner) -> Proof:
    return next(proof for proof in made.check(print).proofs if proof.name == "configured")


def text(done: Up) -> str:
    written: list[str] = []
    up_text(done, written.append, PLAIN)
    return "".join(written)


@pytest.fixture
def x86(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")


@pytest.mark.usefixtures("x86")
def test_up_wires_execution_and_says_how_processes_run(site: Site, root: Path) -> None:
    site.json("up")
    done = up(runner(site, root))
    assert EXECUTE in (root / ".pants.rc").read_text().splitlines()
    shown = text(done).splitlines()
    assert "  execution  slots sandbox, 2 at once" in shown
    assert "Pants runs processes on it from the next command on; try `pants test ::`." in shown
    assert [line for line in shown if len(line) > 80 and str(site.data_dir) not in line] == []
    assert up_json(done)["execution"]["slots"] == 2


@pytest.mark.usefixtures("x86")
def test_what_was_there_already_is_not_said_to_be_written(site: Site, root: Path) -> None:
    site.json("up")
    first, second = (up(runner(site, root)) for _ in range(2))

    assert f"  wrote      {EXECUTE} in .pants.rc\n" in text(first)
    assert "wrote" not in text(second)
    assert up_json(second)["pants_config"]["written"] == up_json(first)["pants_config"]["written"]
    assert up_json(second)["pants_config"]["added"] == ()


@pytest.mark.usefixtures("x86")
def test_up_and_check_find_the_server_once(
    site: Site, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.json("up")
    asked: list[str] = []

    def spy_on_call(state: State, method: str, path: str, *rest: Any, **more: Any) -> Any:
        asked.append(path.partition("?")[0])
        return call(state, method, path, *rest, **more)

    def spy_on_prove(state: State, *rest: Any, **more: Any) -> Any:
        asked.append(challenge.PATH)
        return prove(state, *rest, **more)

    call, prove = admin_client.call, admin_client.prove
    monkeypatch.setattr(admin_client, "call", spy_on_call)
    monkeypatch.setattr(admin_client, "prove", spy_on_prove)
    up(runner(site, root))
    assert asked == [challenge.PATH, admin_api.STATUS, admin_api.CHECK]
    asked.clear()
    runner(site, root, remote_execution=True).check(print)
    assert asked == [challenge.PATH, admin_api.CHECK, admin_api.STATUS, admin_api.RUNS]


@pytest.mark.usefixtures("x86")
def test_up_without_it_goes_back_to_the_cache(site: Site, root: Path) -> None:
    site.json("up")
    up(runner(site, root))
    done = runner(site, root, remote_execution=True).up(lambda line: None, execution=False)
    assert EXECUTE not in (root / ".pants.rc").read_text()
    assert f"  removed   {EXECUTE} from .pants.rc\n" in text(done)
    assert not any("remote_execution" in note for note in done.notes)
    assert up_json(done)["execution"] is None


def test_execution_that_only_the_user_switched_on_is_noted(site: Site, root: Path) -> None:
    site.json("up")
    done = runner(site, root, remote_execution=True).up(lambda line: None, execution=False)
    assert any("pants reapi-up --execution" in note for note in done.notes)


@pytest.mark.usefixtures("x86")
def test_a_server_that_runs_no_processes_leaves_the_wiring_alone(site: Site, root: Path) -> None:
    site.json("up", "--sandbox=bubblewrap")
    error = refusal(runner(site, root))
    assert error.why == "There is no `bwrap`; `apt install bubblewrap`."
    assert "`pants reapi-down`, then `pants reapi-up --execution`" in error.remedy
    assert not (root / ".pants.rc").exists()


@pytest.mark.usefixtures("x86")
@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"hermetic": True}, "It gives processes the network"),
        ({"sandbox": "process-group"}, "It uses the sandbox slots"),
    ],
)
def test_a_server_that_isolates_otherwise_than_asked_leaves_the_wiring_alone(
    site: Site, root: Path, asked: dict[str, Any], why: str
) -> None:
    site.json("up")
    error = refusal(runner(site, root, asked=asked))
    assert error.why.startswith(why)
    assert "`pants reapi-down`, then `pants reapi-up --execution`" in error.remedy
    assert not (root / ".pants.rc").exists()
    proof = configured(runner(site, root, asked=asked, remote_execution=True))
    assert not proof.ok
    assert why in proof.detail


@pytest.mark.usefixtures("x86")
def test_other_slots_than_asked_for_are_noted(site: Site, root: Path) -> None:
    site.json("up")
    notes = up(runner(site, root, asked={"slots": 9})).notes
    assert any("The running server runs 2 processes at once" in note for note in notes)


@pytest.mark.parametrize(
    "settings",
    [
        {"asked": {"mode": "off"}},
        {"remote_store_address": "grpc://other:1"},
        {"remote_provider": "experimental-file", "remote_store_address": "file:///cache"},
    ],
)
def test_what_keeps_pants_from_using_it_takes_the_place_of_the_promise(
    site: Site, root: Path, settings: dict[str, Any]
) -> None:
    site.json("up")
    done = runner(site, root, **settings).up(lambda line: None, execution=False)
    assert "uses it from the next command on" not in text(done)
    assert "Until you change that, Pants doesn't use the server." in text(done)
    assert up_json(done)["conflicts"] == list(done.conflicts) != []
    usual = runner(site, root).up(lambda line: None, execution=False)
    assert "uses it from the next command on" in text(usual)


@pytest.mark.usefixtures("x86")
def test_a_server_with_a_failing_proof_is_wired_as_a_cache_alone(site: Site, root: Path) -> None:
    site.json("up")
    done = up(replace(runner(site, root), instance="forbidden"))
    assert not done.ok
    assert EXECUTE not in (root / ".pants.rc").read_text()
    assert "A proof failed" in text(done)


@pytest.mark.usefixtures("x86")
@pytest.mark.parametrize(
    ("settings", "cure"),
    [
        ({"plugins": ["some-plugin==1"]}, "[environments-preview].names"),
        ({"remote_execution_address": "grpc://other:1"}, "remove it to use this server"),
        ({"remote_store_address": "grpc://other:1"}, "remove it to use this server"),
        (
            {"remote_provider": "experimental-file", "remote_store_address": "file:///cache"},
            "[GLOBAL].remote_provider is experimental-file, and [GLOBAL] wins; remove it",
        ),
        ({"remote_oauth_bearer_token_path": "/token"}, "remove it"),
        ({"remote_oauth_bearer_token": "token"}, "remove it"),
        ({"asked": {"address": "grpc://other:1"}}, "[reapi].address"),
        ({"asked": {"mode": "off"}}, "[reapi].mode is off"),
    ],
)
def test_what_would_make_builds_fail_is_refused_before_anything_is_started(
    site: Site, root: Path, settings: dict[str, Any], cure: str
) -> None:
    assert cure in refusal(runner(site, root, **settings)).why
    assert not (root / ".pants.rc").exists()
    assert not site.data_dir.exists()


def test_other_processors_need_an_environment_that_names_them() -> None:
    pants = SimpleNamespace(plugins=[], backend_packages=[], remote_execution_address=None)
    (conflict,) = execution_conflicts(pants, [], machine="aarch64", python=PYTHON)
    assert "aarch64" in conflict
    assert execution_conflicts(pants, ["arm"], machine="aarch64", python=PYTHON) == []
    assert execution_conflicts(pants, [], machine="x86_64", python=PYTHON) == []


@pytest.mark.parametrize(
    ("release", "content", "conflicts"),
    [("2.18.0", "requests\n", 1), ("2.17.1", "requests\n", 0), ("2.31.0", "# none\n\n", 0)],
)
def test_a_backend_that_lists_packages_is_the_same_trap_as_a_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str, content: str, conflicts: int
) -> None:
    backend = tmp_path / "backend_with_packages"
    backend.mkdir()
    (backend / "__init__.py").touch()
    (backend / "requirements.txt").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    pants = SimpleNamespace(
        plugins=[],
        pants_version=release,
        backend_packages=["no.such.backend", backend.name],
        remote_execution_address=None,
    )
    found = execution_conflicts(pants, [], machine="x86_64", python=PYTHON)
    assert len(found) == conflicts
    assert all(f"The backend {backend.name} has a requirements.txt" in each for each in found)
    assert execution_conflicts(pants, ["remote"], machine="x86_64", python=PYTHON) == []


def test_pants_must_not_live_where_its_processes_don_t_see_it() -> None:
    pants = SimpleNamespace(plugins=[], backend_packages=[], remote_execution_address=None)
    (conflict,) = execution_conflicts(pants, [], machine="x86_64", python="/dev/shm/bin/python")
    assert "/dev/shm/bin/python" in conflict


def test_named_environments_end_the_trap_of_plugins_and_are_noted(site: Site, root: Path) -> None:
    site.json("up")
    made = runner(site, root, ["remote"], plugins=["some-plugin==1"])
    assert any("remote_environment" in note for note in up(made).notes)
    assert EXECUTE in (root / ".pants.rc").read_text()


def test_down_says_whose_processes_it_ended(site: Site, root: Path) -> None:
    site.json("up", "--sandbox=process-group")
    down, shown = runner(site, root).down(kill=False), io.StringIO()
    down_text(down, shown.write, PLAIN)
    assert down.executing == 1
    assert "Builds had 1 process running on it." in shown.getvalue()
    assert down_json(runner(site, root).down(kill=False))["executing"] == 0


@pytest.mark.usefixtures("x86")
def test_a_sandbox_without_caches_is_noted(site: Site, root: Path) -> None:
    site.json("up", "--sandbox=process-group")
    done = up(runner(site, root))
    assert "Processes can read your files." in done.notes
    assert any("repeat work" in note for note in done.notes)
    assert "  execution  no sandbox, 2 at once\n" in text(done)


@pytest.mark.usefixtures("x86")
def test_down_takes_all_of_it_back(site: Site, root: Path) -> None:
    site.json("up")
    before = b"# mine\n[python]\ninterpreter_constraints = ['==3.11.*']"
    (root / ".pants.rc").write_bytes(before)
    up(runner(site, root))
    switch_off(root)
    assert (root / ".pants.rc").read_bytes() == before


@pytest.mark.usefixtures("x86")
def test_check_says_that_processes_run_there(site: Site, root: Path) -> None:
    site.json("up")
    everything = runner(site, root, remote_execution=True, remote_cache_read=False)
    assert configured(everything).detail == (
        "Pants is configured to use it for every process, 2 at once, but off in [GLOBAL]: "
        "remote_cache_read"
    )
    some = runner(site, root, ["remote"], remote_execution=True)
    assert "processes of remote_environment targets, 2 at once" in configured(some).detail


@pytest.mark.usefixtures("x86")
def test_check_fails_where_pants_sends_processes_to_a_server_that_runs_none(
    site: Site, root: Path
) -> None:
    site.json("up", "--sandbox=bubblewrap")
    proof = configured(runner(site, root, remote_execution=True))
    assert not proof.ok
    assert "apt install bubblewrap" in proof.detail
    assert "pants reapi-up --execution" in proof.remedy
    assert configured(runner(site, root)).ok, "as a cache it serves"


@pytest.mark.usefixtures("x86")
def test_check_names_the_trap_and_where_to_start_a_server(site: Site, root: Path) -> None:
    made = runner(site, root, remote_execution=True, plugins=["some-plugin==1"])
    reachable, proof = made.check(print).proofs
    assert reachable.remedy == "Start one with `pants reapi-up --execution`."
    assert not proof.ok
    assert "pantsbuild/pants#17262" in proof.remedy


@pytest.mark.usefixtures("x86")
def test_a_server_with_tls_is_not_wired_to_run_processes_until_pants_trusts_it(
    site: Site, root: Path
) -> None:
    site.json("up")
    with_tls(site)
    said = refusal(runner(site, root))
    assert "nothing was changed" in said.what
    assert 'remote_ca_certs_path = "/tls/server.pem"' in said.why
    assert not (root / ".pants.rc").exists()
    trusted = {"remote_ca_certs_path": "/tls/ca.pem"}
    assert up(runner(site, root, **trusted)).config.executes


def test_up_and_check_say_which_option_of_pants_tls_needs(site: Site, root: Path) -> None:
    site.json("up")
    with_tls(site)
    done = runner(site, root).up(print, execution=False)
    assert "remote_ca_certs_path" in " ".join(done.conflicts)
    proof = configured(runner(site, root))
    assert not proof.ok
    assert 'remote_ca_certs_path = "/tls/server.pem"' in proof.remedy
    assert configured(runner(site, root, remote_ca_certs_path="/tls/ca.pem")).ok
