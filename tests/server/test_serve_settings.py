"""Settings from flags, environment and file: which one counts, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from reapi_local.cli import main, make_parser
from reapi_local.config.schema import (
    SETTINGS,
    Config,
    ConfigError,
    from_environment,
    misspelt,
    parse_config,
    parse_size,
)
from server.process import Process, state_of

MIB = 1024 * 1024


def test_flags_count_before_environment_before_file_before_defaults(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('max_size = "3MiB"\nlease = 30\nidle_exit = 0.01\ninstances = ["a", "b/c"]\n')
    environment = {"REAPI_LOCAL_MAX_SIZE": "2MiB", "REAPI_LOCAL_LEASE": "20"}
    arguments = ("--config", str(file), "--max-size", "1MiB", "--data-dir", str(tmp_path / "data"))
    with Process(*arguments, env=environment) as process:
        process.serving()
        assert process.end()[0] == 0  # by idle_exit, from the file
    assert state_of(tmp_path / "data")["max_size_bytes"] == MIB
    config = parse_config(
        ("flags", {"data_dir": "/d", "max_size": "1MiB"}),
        ("environment", from_environment(environment)),
        ("file", {"max_size": "3MiB", "lease": 30, "instances": ["a", "b/c"]}),
    )
    assert config == Config(data_dir="/d", max_size=MIB, lease=20.0, instances=("a", "b/c"))


def test_the_data_dir_may_come_from_the_environment(tmp_path: Path) -> None:
    environment = {"REAPI_LOCAL_DATA_DIR": str(tmp_path / "data"), "REAPI_LOCAL_IDLE_EXIT": "0.01"}
    with Process(env=environment) as process:
        process.serving()
        assert process.end()[0] == 0


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('colour = "red"\nsync = "perhaps"\nport = 70000\nlease = "soon"\n')
    environment = {"REAPI_LOCAL_TRANSPORT": "pigeon", "REAPI_LOCAL_INSTANCES": "ok,a//b"}
    arguments = ("--config", str(file), "--max-size", "much", "--min-free", "-1")
    with Process("--data-dir", str(tmp_path / "data"), *arguments, env=environment) as process:
        ready = process.ready()
        assert (ready["ready"], ready["error"]) == (False, "settings")
        status, errors = process.end()
    assert status == 2
    expected = [
        ("command line", "max_size", "'much'"),
        ("command line", "min_free", "'-1'"),
        ("environment", "REAPI_LOCAL_TRANSPORT", "'pigeon'"),
        ("environment", "REAPI_LOCAL_INSTANCES", "'a//b'"),
        (str(file), "colour", "known:"),
        (str(file), "sync", "'perhaps'"),
        (str(file), "port", "70000"),
        (str(file), "lease", "'soon'"),
    ]
    for source, name, why in expected:
        [line] = [line for line in ready["message"].splitlines() if f": {name}" in line]
        assert source in line
        assert why in line
    assert ready["message"] in errors
    assert not (tmp_path / "data").exists()


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


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1048576", MIB),
        ("1MiB", MIB),
        ("1M", 1_000_000),
        ("1.5MB", 1_500_000),
        (" 20 GiB ", 20 * 1024**3),
        ("2tib", 2 * 1024**4),
        ("4TiB", 4 * 1024**4),
        ("0", 0),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "x", "-1", "1e9", "1XB", "1 2", "0x10", "5TiB", "9" * 400, "MiB", "1,5GB"]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"isn't a size|too much"):
        parse_size(text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "-1"),
        ("port", "65536"),
        ("port", "²"),
        ("port", True),
        ("max_size", "1023KiB"),
        ("max_size", 10),
        ("max_size", "100000TiB"),
        ("lease", "nan"),
        ("lease", "-1"),
        ("lease", "inf"),
        ("lease", None),
        ("idle_exit", "1e10"),
        ("instances", "blobs"),
        ("instances", 3),
        ("instances", ["a", 3]),
        ("sync", ""),
        ("host", ""),
        ("data_dir", ""),
        ("transport", "GRPCIO"),
    ],
)
def test_values_that_can_not_be_used_are_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"here: {name}: "):
        parse_config(("here", {"data_dir": "/d", name: value}))


def test_variables_that_are_not_settings_are_left_to_others() -> None:
    assert from_environment({"REAPI_LOCAL_VENV": "x", "PORT": "1", "REAPI_LOCAL_PORT": "2"}) == {
        "port": "2"
    }


def test_a_variable_that_is_nearly_a_setting_is_told() -> None:
    given = dict.fromkeys(["REAPI_LOCAL_MAXSIZE", "REAPI_LOCAL_PORT", "REAPI_LOCAL_VENV", "X"], "1")
    assert misspelt(given) == {"REAPI_LOCAL_MAXSIZE": "REAPI_LOCAL_MAX_SIZE"}


def test_a_home_directory_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert parse_config(("here", {"data_dir": "~/x"})).data_dir == "/home/someone/x"


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
        for name in SETTINGS:
            flag = "--instance" if name == "instances" else f"--{name.replace('_', '-')}"
            assert f"{flag} " in text
