"""A command that Pants can't run while every process is remote ends with the one to use instead."""

from __future__ import annotations

import logging
import shlex
from types import SimpleNamespace
from typing import Any

import pytest

from plugin.hook_of_pants import AuthPluginState, Hook, Options

DEBUG = {"test": {"debug": True, "debug_adapter": False}}
ADAPTER = {"test": {"debug": False, "debug_adapter": True}}
PYTHON = {"python": {"resolves": {"tools": "3rdparty/tools.lock"}}}


def refusal(hook: Hook, caplog: pytest.LogCaptureFixture, options: Options) -> str:
    with pytest.raises(SystemExit) as raised:
        hook(options)
    assert raised.value.code == 1
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    return caplog.messages[0]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (Options("run", remote_execution=True), "run"),
        (Options("repl", remote_execution=True), "repl"),
        (Options("lint", "run", remote_execution=True), "run"),
        (Options("experimental-deploy", remote_execution=True), "experimental-deploy"),
        (Options("test", remote_execution=True, scopes=DEBUG), "test --debug"),
        (Options("test", remote_execution=True, scopes=ADAPTER), "test --debug-adapter"),
        (
            Options(
                "export",
                remote_execution=True,
                scopes={**PYTHON, "export": {"resolve": ["tools"]}},
            ),
            "export --resolve",
        ),
        # Whichever server it is that the processes run on.
        (
            Options(
                "run",
                remote_execution=True,
                remote_store_address="grpc://a:1",
                remote_execution_address="grpc://a:1",
            ),
            "run",
        ),
    ],
)
def test_it_ends_in_one_line_before_anything_is_done(
    hook: Hook, caplog: pytest.LogCaptureFixture, options: Options, named: str
) -> None:
    said = refusal(hook, caplog, options)
    assert f"can't run `{named}` while its processes run on a server" in said
    assert said.endswith(f"Use: pants --no-remote-execution {named} …")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("given", "repeated"),
    [
        (["run", "src/app.py"], "run src/app.py"),
        (["--tag=a b", "run", "it's:app"], "'--tag=a b' run 'it'\"'\"'s:app'"),
        (
            ["--remote-execution", "run", "app.py", "--", "--remote-execution", "$HOME"],
            "run app.py -- --remote-execution '$HOME'",
        ),
        (["--remote-execution=true", "--no-pantsd", "run", ":"], "--no-pantsd run :"),
    ],
)
def test_the_command_to_use_has_the_arguments_of_the_user(
    hook: Hook, caplog: pytest.LogCaptureFixture, given: list[str], repeated: str
) -> None:
    # As the function of Pants that calls the hook names them.
    options_bootstrapper = SimpleNamespace(args=("/path/to/pants", *given))
    said = refusal(hook, caplog, Options("run", remote_execution=True))
    command = said.partition("Use: ")[2]
    assert command == f"pants --no-remote-execution {repeated}"
    wanted = [each for each in given if not each.startswith("--remote-execution")]
    if "--" in given:
        wanted.insert(wanted.index("--") + 1, "--remote-execution")
    assert shlex.split(command) == ["pants", "--no-remote-execution", *wanted]
    assert options_bootstrapper.args[1:] == tuple(given)


def _named(*goals: str, **scopes: Any) -> Options:
    names = {"environments-preview": {"names": {"remote": "//:remote"}}}
    return Options(*goals, remote_execution=True, address="grpc://a:1", scopes={**names, **scopes})


@pytest.mark.parametrize(
    "options",
    [
        Options("run", address="grpc://a:1"),
        # Each target has an environment, which decides.
        _named("run"),
        _named("test", **DEBUG),
        # Not surely interactive.
        Options("publish", address="grpc://a:1", remote_execution=True),
        Options("run-our-migrations", address="grpc://a:1", remote_execution=True),
        Options("test", address="grpc://a:1", remote_execution=True),
        Options(
            "export",
            address="grpc://a:1",
            remote_execution=True,
            scopes={**PYTHON, "export": {"resolve": ["node"]}},
        ),
        Options("export", address="grpc://a:1", remote_execution=True),
    ],
)
def test_what_may_work_goes_on(
    hook: Hook, caplog: pytest.LogCaptureFixture, options: Options
) -> None:
    assert hook(options).state is AuthPluginState.OK
    assert caplog.messages == []


def test_help_for_such_a_goal_goes_on(hook: Hook) -> None:
    options = Options("run", builtin="help", remote_execution=True)
    assert hook(options).state is AuthPluginState.UNAVAILABLE
