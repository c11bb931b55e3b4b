"""Settings of a server process: which source counts, and what is told of wrong ones."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reapi_local.cli import main, make_parser
from reapi_local.config.settings import SETTINGS
from server.process import SOURCE, Process, quiet_port, state_of, stop

MIB = 1024 * 1024


def test_flags_count_before_environment_before_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('[store]\nmax_size = "3MiB"\n[listen]\nport = 1\nidle_exit = 0.01\n')
    port = quiet_port()
    environment = {"REAPI_LOCAL_MAX_SIZE": "2MiB", "REAPI_LOCAL_PORT": str(port)}
    arguments = ("--config", str(file), "--max-size", "1MiB", "--data-dir", str(tmp_path / "data"))
    with Process(*arguments, env=environment) as process:
        assert process.serving()["grpc_port"] == port
        assert process.end()[0] == 0  # by idle_exit, from the file
    assert state_of(tmp_path / "data")["max_size_bytes"] == MIB


def test_the_data_dir_may_come_from_the_environment(tmp_path: Path) -> None:
    environment = {"REAPI_LOCAL_DATA_DIR": str(tmp_path / "data"), "REAPI_LOCAL_IDLE_EXIT": "0.01"}
    with Process(env=environment) as process:
        process.serving()
        assert process.end()[0] == 0


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(
        'colour = "red"\n[store]\nsync = "perhaps"\nlease = "soon"\n[listen]\nport = 70000\n'
    )
    environment = {"REAPI_LOCAL_TRANSPORT": "pigeon", "REAPI_LOCAL_INSTANCES": "ok,a//b"}
    arguments = ("--config", str(file), "--max-size", "much", "--min-free", "-1")
    with Process("--data-dir", str(tmp_path / "data"), *arguments, env=environment) as process:
        ready = process.ready()
        assert (ready["ready"], ready["error"]) == (False, "settings")
        status, errors = process.end()
    assert status == 2
    expected = [
        ("--max-size: ", "'much'"),
        ("--min-free: ", "'-1'"),
        ("REAPI_LOCAL_TRANSPORT: ", "'pigeon'"),
        ("REAPI_LOCAL_INSTANCES: ", "'a//b'"),
        (f"{file}: store.sync: ", "'perhaps'"),
        (f"{file}: store.lease: ", "'soon'"),
        (f"{file}: listen.port: ", "70000"),
        (f"{file}: colour ", "known names:"),
    ]
    lines = ready["message"].splitlines()
    assert len(lines) == len(expected)
    for line, (where, why) in zip(lines, expected, strict=True):
        assert line.startswith(where)
        assert why in line
    assert ready["message"] in errors
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("tools", "isn't an absolute path"),
        ("/no/such/tools", "doesn't exist"),
        ("~", "is a home"),
        ("/", "contains"),
        ("{data}", "data directory"),
    ],
)
def test_what_can_not_be_shown_is_told(path: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    path = path.format(data=tmp_path / "data")
    with Process("--data-dir", str(tmp_path / "data"), "--show", path) as process:
        ready = process.ready()
        assert (ready["ready"], ready["error"]) == (False, "settings")
        assert "show" in ready["message"]
        assert said in ready["message"]


@pytest.mark.parametrize("content", [None, "max_size = ", "\xff"])
def test_a_settings_file_that_can_not_be_read_is_told(
    tmp_path: Path, content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "settings.toml"
    if content is not None:
        file.write_text(content, encoding="latin-1")
    assert main(["serve", "--data-dir", str(tmp_path / "data"), "--config", str(file)]) == 2
    assert str(file) in capsys.readouterr().err


def test_without_a_data_dir_it_says_which_flag_is_missing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["serve"]) == 2
    assert "--data-dir" in capsys.readouterr().err


def test_a_misspelt_variable_is_named_in_the_log(tmp_path: Path) -> None:
    environment = {"REAPI_LOCAL_MAXSIZE": "1GiB"}
    with Process("--data-dir", str(tmp_path), env=environment) as process:
        process.serving()
        assert "did you mean REAPI_LOCAL_MAX_SIZE?" in process.logged("REAPI_LOCAL_MAXSIZE")
        stop(process)


def test_the_log_can_be_json_and_loses_no_character(tmp_path: Path) -> None:
    data = tmp_path / "dätä-数据"
    arguments = ("--data-dir", str(data), "--log-format", "json")
    plain = {"PYTHONIOENCODING": "ascii", "REAPI_LOCAL_MAXSIZE": "1GiB"}
    with Process(*arguments, env=plain) as process:
        process.serving()
        serving = json.loads(process.logged("serving"))
        process.popen.terminate()
        _, errors = process.end()
    for line in errors.splitlines():
        json.loads(line)
    assert serving.keys() == {"time", "level", "logger", "message"}
    assert (serving["level"], serving["logger"]) == ("INFO", "reapi_local.cli")
    assert serving["message"].endswith(f"from {data}")
    age = datetime.now(UTC) - datetime.fromisoformat(serving["time"])
    assert timedelta(0) <= age < timedelta(minutes=1)


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"]])
def test_help_fits_80_columns_and_explains_every_flag(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        make_parser().parse_args(arguments)
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    if "serve" in arguments:
        for setting in SETTINGS.values():
            assert f"{setting.flag} " in text


@pytest.mark.parametrize(
    "arguments", [["--help"], ["serve", "--help"], ["serve", "--no-such"], ["serve", "--port=x"]]
)
def test_help_and_wrong_options_are_answered_without_loading_the_server(
    arguments: list[str],
) -> None:
    program = (
        "import runpy, sys\n"
        f"sys.argv[1:] = {arguments!r}\n"
        "try:\n    runpy.run_module('reapi_local', run_name='__main__')\n"
        "finally:\n    print(*sys.modules, file=sys.stderr)\n"
    )
    done: Any = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )
    loaded = set(done.stderr.split())
    assert "reapi_local.config.settings" in loaded
    assert not loaded & {"grpc", "asyncio", "lmdb", "google.protobuf", "starlette"}
