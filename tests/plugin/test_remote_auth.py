"""The hook logs at most one message, and ends only builds that need a server and have none."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.harness import REAL, Site, with_tls
from plugin.hook_of_pants import (
    NAMES,
    AuthPluginState,
    Hook,
    Options,
    RemoteProvider,
    loaded_hook,
)
from reapi_contract.data_dir import PLACES


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
_VALUES = st.dictionaries(st.sampled_from(NAMES), _ANY)


@given(values=_VALUES, builds=st.booleans())
def test_strange_values_of_options_never_raise(
    hook: Hook, values: dict[str, Any], builds: bool
) -> None:
    may_end = builds and values.get("remote_execution")
    with suppress(SystemExit) if may_end else nullcontext():
        hook(Options("test" if builds else "reapi-check", **values))


@pytest.mark.parametrize("lacking", ["goals", "reapi", "everything"])
def test_options_of_another_shape_never_raise(hook: Hook, lacking: str) -> None:
    options = Options("test")
    delattr(options, lacking)
    assert hook(options).state is AuthPluginState.UNAVAILABLE


@pytest.mark.parametrize("content", [b"", b"[]", b'{"pid": "x"}', b"\xff\xfe\0", b"{" * 100_000])
def test_a_state_file_that_is_none_never_raises(hook: Hook, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "server.json").write_bytes(content)
    result = hook(Options("test", data_dir=str(tmp_path)))
    assert result.state is AuthPluginState.UNAVAILABLE
    assert (result.store_headers, result.execution_headers) == ({"x": "2"}, {"x": "1"})


def test_a_build_without_a_server_is_told_once(
    hook: Hook, caplog: pytest.LogCaptureFixture
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
    hook: Hook,
    caplog: pytest.LogCaptureFixture,
    options: Options,
) -> None:
    assert hook(options).state is AuthPluginState.UNAVAILABLE
    assert caplog.messages == []


def test_a_server_given_by_address_gets_the_token(hook: Hook, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    options = Options("test", address="grpc://cache:1", token_path=str(tmp_path / "token"))
    result = hook(options)
    assert result.state is AuthPluginState.OK
    assert result.store_address == "grpc://cache:1"
    assert result.store_headers == {"x": "2", "authorization": "Bearer secret"}
    assert result.execution_headers == {"x": "1", "authorization": "Bearer secret"}


def test_an_address_in_global_gets_neither_token_nor_a_second_address(
    hook: Hook,
) -> None:
    result = hook(Options("test", remote_store_address="grpc://other:1"))
    assert result.state is AuthPluginState.OK
    assert result.store_address is None
    assert result.store_headers == {"x": "2"}


@pytest.mark.parametrize("mode", ["cache", "off"])
def test_a_cache_of_another_provider_gets_nothing_of_ours(
    hook: Hook, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    provider = RemoteProvider.experimental_file
    cache = {"remote_provider": provider, "remote_store_address": "file:///cache"}
    result = hook(Options("test", mode=mode, instance="ours", **cache))
    assert result.state is AuthPluginState.OK
    assert result.provider is provider
    assert (result.store_headers, result.execution_headers) == ({"x": "2"}, {"x": "1"})
    assert (result.store_address, result.execution_address, result.instance_name) == (None,) * 3
    if mode == "off":
        assert caplog.messages == []
    else:
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert "[GLOBAL].remote_provider is experimental-file" in caplog.messages[0]


def test_our_goals_run_beside_another_provider_without_a_warning(
    hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    provider = RemoteProvider.experimental_file
    cache = {"remote_provider": provider, "remote_store_address": "file:///cache"}
    assert hook(Options("reapi-down", **cache)).provider is provider
    assert caplog.messages == []


def test_another_provider_without_an_address_costs_the_cache_but_not_the_build(
    hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    result = hook(Options("test", remote_provider=RemoteProvider.experimental_file))
    assert result.state is AuthPluginState.UNAVAILABLE
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "remote_store_address isn't set" in caplog.messages[0]


def test_our_server_is_used_where_the_provider_is_the_usual_one(hook: Hook) -> None:
    result = hook(Options("test", address="grpc://a:1", remote_provider=RemoteProvider.reapi))
    assert (result.provider, result.store_address) == (RemoteProvider.reapi, "grpc://a:1")


@pytest.mark.parametrize("mode", ["cache", "off"])
def test_an_address_in_global_is_used_as_without_the_plugin(
    hook: Hook, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    result = hook(Options("test", mode=mode, remote_store_address="grpc://other:1"))
    assert result.state is AuthPluginState.OK
    assert (result.store_address, result.instance_name) == (None, None)
    assert caplog.messages == []


def ended(hook: Hook, caplog: pytest.LogCaptureFixture, options: Options) -> str:
    """The message to a build that was ended."""
    with pytest.raises(SystemExit) as raised:
        hook(options)
    assert raised.value.code == 1
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    return caplog.messages[0]


def test_a_build_that_sends_processes_is_ended_with_the_remedy(
    hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    said = ended(hook, caplog, Options("test", remote_execution=True))
    assert "[reapi].autostart is off. `pants reapi-up --execution` starts it." in said
    assert "--no-remote-execution" in said


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"mode": "off"}, "[reapi].mode is off"),
        ({"remote_store_address": "grpc://a:1"}, "sets only one of"),
        (
            {
                "remote_provider": RemoteProvider.experimental_file,
                "remote_store_address": "file:///a",
            },
            "[GLOBAL].remote_provider is experimental-file, which runs no processes. Remove it",
        ),
        ({"remote_execution_address": "grpc://a:1"}, "sets only one of"),
        ({"address": "grpc://a:1", "token_path": "/no/such"}, "[reapi].token_path"),
        ({"data_dir": Hostile()}, "reapi-local failed: AttributeError("),
    ],
)
def test_it_is_told_what_is_in_the_way(
    hook: Hook,
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
    hook: Hook,
    caplog: pytest.LogCaptureFixture,
    options: Options,
) -> None:
    assert hook(options).state is AuthPluginState.UNAVAILABLE
    assert caplog.messages == []


def test_a_server_given_by_address_gets_processes_only_where_pants_sends_them(
    hook: Hook,
) -> None:
    executing = hook(Options("test", address="grpc://a:1", remote_execution=True))
    assert (executing.store_address, executing.execution_address) == ("grpc://a:1", "grpc://a:1")
    assert hook(Options("test", address="grpc://a:1")).execution_address is None


def test_two_addresses_in_global_are_left_to_the_user(
    hook: Hook,
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
def test_the_users_own_server_gets_processes_with_its_token(hook: Hook, site: Site) -> None:
    up = site.json("up", "--show-token")
    result = hook(Options("test", data_dir=str(site.data_dir), remote_execution=True))
    assert result.execution_address == result.store_address == up["grpc_address"]
    assert result.execution_headers["authorization"] == f"Bearer {up['token']}"


@pytest.mark.skipif(REAL, reason="the stand-in writes down what it is told")
def test_the_server_is_told_of_the_repository_and_of_programs(site: Site, tmp_path: Path) -> None:
    site.json("up")
    python = {"python-bootstrap": {"search_path": ["<PYENV>", "/opt/pythons/3.9/bin", "relative"]}}
    options = Options(
        "test", data_dir=str(site.data_dir), remote_execution=True, scopes=python, show=[]
    )
    with loaded_hook(tmp_path / "repository") as hook:
        hook(Options("test", data_dir=str(site.data_dir)))
        assert not (site.data_dir / PLACES).exists(), "nothing is executed"
        hook(options)
    repository, tools = json.loads((site.data_dir / PLACES).read_text())
    assert repository == str(tmp_path / "repository")
    assert {sys.prefix, sys.base_prefix, "/opt/pythons/3.9/bin", "/opt/pythons/3.9"} == {*tools}


@pytest.mark.skipif(REAL, reason="the stand-in refuses what it is told to")
def test_a_repository_that_processes_do_not_see_is_warned_of(
    caplog: pytest.LogCaptureFixture, site: Site, tmp_path: Path
) -> None:
    site.json("up")
    with loaded_hook(tmp_path / "refused") as hook:
        result = hook(Options("test", data_dir=str(site.data_dir), remote_execution=True))
    assert result.state is AuthPluginState.OK
    assert caplog.messages == ["Processes on the server don't see this repository: it is a home"]


@pytest.mark.skipif(REAL, reason="the stand-in shows what it is told to")
def test_a_build_is_ended_where_processes_do_not_see_what_they_should(
    hook: Hook, caplog: pytest.LogCaptureFixture, site: Site
) -> None:
    site.json("up", "--show=/opt/tools")
    where = {"data_dir": str(site.data_dir), "remote_execution": True}
    assert hook(Options("test", show=["/opt/tools/"], **where)).state is AuthPluginState.OK
    said = ended(hook, caplog, Options("test", show=["/opt/others"], **where))
    assert "doesn't show /opt/others to processes" in said


@pytest.mark.skipif(REAL, reason="the stand-in has no bubblewrap")
def test_a_build_is_ended_where_the_server_runs_no_processes(
    hook: Hook, caplog: pytest.LogCaptureFixture, site: Site
) -> None:
    site.json("up", "--sandbox=bubblewrap")
    said = ended(hook, caplog, Options("test", data_dir=str(site.data_dir), remote_execution=True))
    assert "apt install bubblewrap" in said
    result = hook(Options("test", data_dir=str(site.data_dir)))
    assert result.state is AuthPluginState.OK, "as a cache it serves"


def test_a_build_is_ended_where_processes_would_have_the_network_they_must_not(
    hook: Hook, caplog: pytest.LogCaptureFixture, site: Site
) -> None:
    site.json("up")
    wanted = Options("test", data_dir=str(site.data_dir), remote_execution=True, hermetic=True)
    said = ended(hook, caplog, wanted)
    assert "network" in said
    assert "reapi-down" in said


@pytest.mark.skipif(REAL, reason="the stand-in says what it is told to")
def test_a_server_with_tls_is_used_only_if_pants_trusts_it(
    hook: Hook, caplog: pytest.LogCaptureFixture, site: Site
) -> None:
    site.json("up")
    with_tls(site)
    where = {"data_dir": str(site.data_dir)}
    assert hook(Options("test", **where)).state is AuthPluginState.UNAVAILABLE
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert '[GLOBAL]: remote_ca_certs_path = "/tls/server.pem"' in caplog.messages[0]
    caplog.clear()
    said = ended(hook, caplog, Options("test", remote_execution=True, **where))
    assert 'remote_ca_certs_path = "/tls/server.pem"' in said
    trusting = Options("test", **where)
    trusting.everything.remote_ca_certs_path = "/tls/ca.pem"
    assert hook(trusting).state is AuthPluginState.OK


@pytest.mark.skipif(REAL, reason="the stand-in says what it is told to")
def test_a_server_that_wants_certificates_is_used_only_if_pants_has_one(
    hook: Hook, caplog: pytest.LogCaptureFixture, site: Site
) -> None:
    site.json("up")
    with_tls(site, needs_client_certificate=True)
    options = Options("test", data_dir=str(site.data_dir))
    options.everything.remote_ca_certs_path = "/tls/ca.pem"
    assert hook(options).state is AuthPluginState.UNAVAILABLE
    assert "remote_client_certs_path and remote_client_key_path" in caplog.messages[0]
    options.everything.remote_client_certs_path = "/tls/client-me.pem"
    assert hook(options).state is AuthPluginState.OK
