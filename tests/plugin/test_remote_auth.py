"""The hook logs at most one message, and ends only builds that need a server and have none.

What it needs of Pants is two small classes and the build root, so stand-ins will do here; the real
ones are used where Pants itself runs.
"""

from __future__ import annotations

import enum
import importlib
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.harness import REAL, Site

NAME = "reapi_local_plugin.remote_auth"
_NAMES = ["mode", "address", "token_path", "instance", "data_dir", "port", "max_size"]
_NAMES += ["idle_exit", "server_python", "slots", "hermetic", "sandbox"]
_NAMES += ["remote_store_address", "remote_execution_address", "remote_instance_name"]
_NAMES += ["remote_execution"]


class AuthPluginState(enum.Enum):
    OK = "ok"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True)
class AuthPluginResult:
    state: AuthPluginState
    store_headers: dict[str, str]
    execution_headers: dict[str, str]
    store_address: str | None = None
    execution_address: str | None = None
    instance_name: str | None = None
    plugin_name: str | None = None


class Options:
    """The options as Pants passes them to the hook; no server is started for them."""

    def __init__(self, *goals: str, builtin: str | None = None, **values: Any) -> None:
        self.goals = list(goals)
        self.builtin_goal = builtin
        defaults = dict.fromkeys(_NAMES)
        given = {"mode": "cache", "address": "auto", "port": 0, "idle_exit": 0}
        given |= {"slots": 0, "hermetic": False, "sandbox": "auto", **values}
        self.reapi = SimpleNamespace(**{**defaults, **given, "autostart": False})
        self.everything = SimpleNamespace(
            backend_packages=["reapi_local_plugin"],
            plugins=[],
            remote_store_address=values.get("remote_store_address"),
            remote_execution_address=values.get("remote_execution_address"),
            remote_instance_name=values.get("remote_instance_name"),
            remote_execution=values.get("remote_execution", False),
        )

    def for_scope(self, scope: str) -> Any:
        assert scope == "reapi"
        return self.reapi

    def for_global_scope(self) -> Any:
        return self.everything


@pytest.fixture(scope="module")
def build_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("build-root")


@pytest.fixture(scope="module")
def hook(build_root: Path) -> Iterator[Callable[[Options], AuthPluginResult]]:
    """The hook, called as Pants calls it, on a machine where no server runs."""
    contents: dict[str, dict[str, object]] = {
        "pants": {},
        "pants.base": {},
        "pants.base.build_root": {"BuildRoot": lambda: SimpleNamespace(path=str(build_root))},
        "pants.option": {},
        "pants.option.bootstrap_options": {
            "AuthPluginResult": AuthPluginResult,
            "AuthPluginState": AuthPluginState,
        },
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, content in contents.items():
            module = ModuleType(name)
            vars(module).update(content)
            patch.setitem(sys.modules, name, module)
        patch.delitem(sys.modules, NAME, raising=False)
        remote_auth = importlib.import_module(NAME).remote_auth

        def call(options: Options) -> AuthPluginResult:
            result = remote_auth(
                initial_execution_headers={"x": "1"},
                initial_store_headers={"x": "2"},
                options=options,
                env={"XDG_CACHE_HOME": str(build_root / "cache")},
                prior_result=None,
                of_a_later_release=True,
            )
            assert isinstance(result, AuthPluginResult)
            return result

        yield call
        del sys.modules[NAME]


class Hostile:
    """Raises when it is used as a string or a path."""

    def __str__(self) -> str:
        raise RuntimeError

    def __fspath__(self) -> str:
        raise RuntimeError


_ANY = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.lists(st.text(), max_size=2),
    st.sampled_from(["auto", "off", "\0", "/\0", "~", "grpc://[::1", Hostile()]),
)
_VALUES = st.dictionaries(st.sampled_from(_NAMES), _ANY)


@given(values=_VALUES, builds=st.booleans())
def test_strange_values_of_options_never_raise(
    hook: Callable[[Options], AuthPluginResult], values: dict[str, Any], builds: bool
) -> None:
    may_end = builds and values.get("remote_execution")
    with suppress(SystemExit) if may_end else nullcontext():
        hook(Options("test" if builds else "reapi-check", **values))


@pytest.mark.parametrize("lacking", ["goals", "reapi", "everything"])
def test_options_of_another_shape_never_raise(
    hook: Callable[[Options], AuthPluginResult], lacking: str
) -> None:
    options = Options("test")
    delattr(options, lacking)
    assert hook(options).state is AuthPluginState.UNAVAILABLE


@pytest.mark.parametrize("content", [b"", b"[]", b'{"pid": "x"}', b"\xff\xfe\0", b"{" * 100_000])
def test_a_state_file_that_is_none_never_raises(
    hook: Callable[[Options], AuthPluginResult], tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "server.json").write_bytes(content)
    result = hook(Options("test", data_dir=str(tmp_path)))
    assert result.state is AuthPluginState.UNAVAILABLE
    assert (result.store_headers, result.execution_headers) == ({"x": "2"}, {"x": "1"})


def test_a_build_without_a_server_is_told_once(
    hook: Callable[[Options], AuthPluginResult], caplog: pytest.LogCaptureFixture
) -> None:
    hook(Options("lint", "test"))
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.messages[0].startswith("Building without the cache server. ")


@pytest.mark.parametrize(
    "options",
    [
        Options("reapi-up"),
        Options("reapi-check", "reapi-down"),
        Options("test", builtin="help"),
        Options(),
        Options("test", mode="off"),
    ],
)
def test_a_command_that_would_not_use_it_is_told_nothing(
    hook: Callable[[Options], AuthPluginResult],
    caplog: pytest.LogCaptureFixture,
    options: Options,
) -> None:
    assert hook(options).state is AuthPluginState.UNAVAILABLE
    assert caplog.messages == []


def test_a_server_given_by_address_gets_the_token(
    hook: Callable[[Options], AuthPluginResult], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("secret\n")
    options = Options("test", address="grpc://cache:1", token_path=str(tmp_path / "token"))
    result = hook(options)
    assert result.state is AuthPluginState.OK
    assert result.store_address == "grpc://cache:1"
    assert result.store_headers == {"x": "2", "authorization": "Bearer secret"}
    assert result.execution_headers == {"x": "1", "authorization": "Bearer secret"}


def test_an_address_in_global_gets_neither_token_nor_a_second_address(
    hook: Callable[[Options], AuthPluginResult],
) -> None:
    result = hook(Options("test", remote_store_address="grpc://other:1"))
    assert result.state is AuthPluginState.OK
    assert result.store_address is None
    assert result.store_headers == {"x": "2"}


def ended(
    hook: Callable[[Options], AuthPluginResult], caplog: pytest.LogCaptureFixture, options: Options
) -> str:
    """The message to a build that was ended."""
    with pytest.raises(SystemExit) as raised:
        hook(options)
    assert raised.value.code == 1
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    return caplog.messages[0]


def test_a_build_that_sends_processes_is_ended_with_the_remedy(
    hook: Callable[[Options], AuthPluginResult], caplog: pytest.LogCaptureFixture
) -> None:
    said = ended(hook, caplog, Options("test", remote_execution=True))
    assert "[reapi].autostart is off. `pants reapi-up --execution` starts it." in said
    assert "--no-remote-execution" in said


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"mode": "off"}, "[reapi].mode is off"),
        ({"remote_store_address": "grpc://a:1"}, "sets only one of"),
        ({"remote_execution_address": "grpc://a:1"}, "sets only one of"),
        ({"address": "grpc://a:1", "token_path": "/no/such"}, "[reapi].token_path"),
        ({"data_dir": Hostile()}, "reapi-local failed: AttributeError("),
    ],
)
def test_it_is_told_what_is_in_the_way(
    hook: Callable[[Options], AuthPluginResult],
    caplog: pytest.LogCaptureFixture,
    values: dict[str, Any],
    why: str,
) -> None:
    assert why in ended(hook, caplog, Options("test", remote_execution=True, **values))


@pytest.mark.parametrize(
    "options",
    [
        Options("reapi-down", remote_execution=True),
        Options("reapi-check", remote_execution=True, mode="off"),
        Options("reapi-up", remote_execution=True, remote_store_address="grpc://a:1"),
        Options("test", builtin="help", remote_execution=True),
        Options(remote_execution=True),
    ],
)
def test_a_command_that_sends_none_goes_on_in_silence(
    hook: Callable[[Options], AuthPluginResult],
    caplog: pytest.LogCaptureFixture,
    options: Options,
) -> None:
    assert hook(options).state is AuthPluginState.UNAVAILABLE
    assert caplog.messages == []


def test_a_server_given_by_address_gets_processes_only_where_pants_sends_them(
    hook: Callable[[Options], AuthPluginResult],
) -> None:
    executing = hook(Options("test", address="grpc://a:1", remote_execution=True))
    assert (executing.store_address, executing.execution_address) == ("grpc://a:1", "grpc://a:1")
    assert hook(Options("test", address="grpc://a:1")).execution_address is None


def test_two_addresses_in_global_are_left_to_the_user(
    hook: Callable[[Options], AuthPluginResult],
) -> None:
    addresses = {"remote_store_address": "grpc://a:1", "remote_execution_address": "grpc://b:1"}
    result = hook(Options("test", remote_execution=True, **addresses))
    assert result.state is AuthPluginState.OK
    assert (result.store_address, result.execution_address) == (None, None)
    assert result.execution_headers == {"x": "1"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "installed")
    yield made
    made.clean_up()


@pytest.mark.skipif(REAL, reason="the stand-in says what it is told to offer")
def test_the_users_own_server_gets_processes_with_its_token(
    hook: Callable[[Options], AuthPluginResult], site: Site
) -> None:
    up = site.json("up")
    result = hook(Options("test", data_dir=str(site.data_dir), remote_execution=True))
    assert result.execution_address == result.store_address == up["grpc_address"]
    assert result.execution_headers["authorization"] == f"Bearer {up['token']}"


@pytest.mark.skipif(REAL, reason="the stand-in has no bubblewrap")
def test_a_build_is_ended_where_the_server_runs_no_processes(
    hook: Callable[[Options], AuthPluginResult], caplog: pytest.LogCaptureFixture, site: Site
) -> None:
    site.json("up", "--sandbox=bubblewrap")
    said = ended(hook, caplog, Options("test", data_dir=str(site.data_dir), remote_execution=True))
    assert "apt install bubblewrap" in said
    result = hook(Options("test", data_dir=str(site.data_dir)))
    assert result.state is AuthPluginState.OK, "as a cache it serves"


def test_a_build_is_ended_where_processes_would_have_the_network_they_must_not(
    hook: Callable[[Options], AuthPluginResult], caplog: pytest.LogCaptureFixture, site: Site
) -> None:
    site.json("up")
    wanted = Options("test", data_dir=str(site.data_dir), remote_execution=True, hermetic=True)
    said = ended(hook, caplog, wanted)
    assert "network" in said
    assert "reapi-down" in said
