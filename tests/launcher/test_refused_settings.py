"""What the server refuses, the command and the plugin refuse too, before they start a server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from launcher.harness import Site
from launcher.server_process import Servers
from reapi_contract import ready_line, setting_names
from reapi_contract.bounds import MAX_PORT, MAX_SECONDS, MAX_SLOTS
from reapi_contract.data_dir import STATE_FILE
from reapi_contract.ready_line import NotStarted
from reapi_contract.setting_names import flag
from reapi_contract.sizes import MAX_BYTES, MIN_STORE_BYTES
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.server_settings import ServerSettings
from reapi_local_plugin.options import launcher_settings

REFUSED = [
    (setting_names.MAX_SIZE, "1"),
    (setting_names.MAX_SIZE, str(MIN_STORE_BYTES - 1)),
    (setting_names.MAX_SIZE, str(MAX_BYTES + 1)),
    (setting_names.MAX_SIZE, "lots"),
    (setting_names.PORT, str(MAX_PORT + 1)),
    (setting_names.PORT, "high"),
    (setting_names.SLOTS, str(MAX_SLOTS + 1)),
    (setting_names.SLOTS, "-1"),
    (setting_names.IDLE_EXIT, str(2 * MAX_SECONDS)),
    (setting_names.IDLE_EXIT, "-1"),
    (setting_names.IDLE_EXIT, "nan"),
    (setting_names.SANDBOX, "none"),
]


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_a_value_that_cannot_be_used_is_told(
    servers: Servers, tmp_path: Path, name: str, value: str
) -> None:
    refused = servers.start(f"{flag(name)}={value}", data_dir=tmp_path / "other")
    assert isinstance(refused.line, NotStarted)
    assert refused.line.error == ready_line.SETTINGS
    assert name in refused.line.message.replace("-", "_")
    assert not (tmp_path / "other" / STATE_FILE).exists()


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_the_command_refuses_the_same_values_before_it_starts_a_server(
    site: Site, name: str, value: str
) -> None:
    done = site.run("up", f"{flag(name)}={value}")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {flag(name)}: ")
    assert not site.data_dir.exists()


@pytest.mark.parametrize(("name", "value"), [pair for pair in REFUSED if pair[0] != "sandbox"])
def test_the_plugin_refuses_the_same_values_by_its_option(name: str, value: str) -> None:
    names = ["data_dir", "server_python", "max_size", "port", "idle_exit", "slots", "hermetic"]
    reapi = SimpleNamespace(**{**dict.fromkeys(names), "port": 0, "slots": 0, "idle_exit": 0})
    reapi.sandbox, reapi.show = "auto", []
    launcher_settings(reapi, executes=False).check()
    setattr(reapi, name, value)
    with pytest.raises(LauncherError) as refused:
        launcher_settings(reapi, executes=False).check()
    assert refused.value.remedy == f"Correct [reapi].{name}."


def test_settings_that_the_server_takes_are_taken() -> None:
    most = ServerSettings(None, MAX_PORT, str(MAX_BYTES), (), MAX_SECONDS, None, MAX_SLOTS)
    most.check()
    replace(most, max_size="1MiB").check()
