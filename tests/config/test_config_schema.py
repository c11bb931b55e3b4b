"""The schema: names, and that flag, variable and file reach each setting alike."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import pytest

from config.companions import companions
from reapi_contract import sandbox_levels
from reapi_local.config import kinds
from reapi_local.config.flags import add_flags, take_flags
from reapi_local.config.kinds import exact_size
from reapi_local.config.schema import Config
from reapi_local.config.settings import SECTIONS, SETTINGS, Setting
from reapi_local.config.sources import load

EACH_SETTING = pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda one: one.name)

# For each kind: as text, as TOML has it, and what it means.
EXAMPLES: dict[kinds.Kind, tuple[str, str, Any]] = {
    kinds.SIZE: ("300MiB", '"300MiB"', 300 * 1024**2),
    kinds.SECONDS: ("0.25", "0.25", 0.25),
    kinds.COUNT: ("7", "7", 7),
    kinds.SWITCH: ("true", "true", True),
    kinds.ADDRESS: ("::1", '"::1"', "::1"),
    kinds.FILE: ("/some/file", '"/some/file"', "/some/file"),
    kinds.DIRECTORY: ("/some/where", '"/some/where"', "/some/where"),
    kinds.PATHS: ("/usr/bin:/etc", '["/usr/bin", "/etc"]', ("/usr/bin", "/etc")),
    kinds.NAMES: ("one,a/b", '["one", "a/b"]', ("one", "a/b")),
}


def example(setting: Setting) -> tuple[str, str, Any]:
    """A value that isn't the default."""
    if setting.kind in EXAMPLES:
        return EXAMPLES[setting.kind]
    word = setting.allowed.rpartition(", ")[2]  # one of …, …
    return word, f'"{word}"', word


def flags_of(*arguments: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return take_flags(vars(parser.parse_args(arguments)))


def value_of(config: Config, setting: Setting) -> Any:
    section = getattr(config, setting.section) if setting.section else config
    return getattr(section, setting.name)


def required(setting: Setting) -> dict[str, str]:
    data_dir = {} if setting.name == "data_dir" else {"REAPI_LOCAL_DATA_DIR": "/d"}
    return data_dir | companions(setting)


@EACH_SETTING
def test_a_flag_a_variable_and_the_file_reach_the_same_value(
    setting: Setting, tmp_path: Path
) -> None:
    text, toml, meant = example(setting)
    assert meant != setting.default

    variables = required(setting)
    if setting.kind is kinds.SWITCH:
        arguments = [setting.flag]
    elif setting.is_repeated:
        parts = re.split("[,:]", text)
        arguments = [word for part in parts for word in (setting.flag, part)]
    else:
        arguments = [setting.flag, text]
    file = tmp_path / "settings.toml"
    header = f"[{setting.section}]\n" if setting.section else ""
    file.write_text(f"{header}{setting.name} = {toml}\n", encoding="utf-8")

    ways = {
        "flag": load(flags_of(*arguments), variables, None),
        "variable": load({}, {**variables, setting.variable: text}, None),
        "file": load({}, variables, str(file)),
    }
    assert {way: value_of(config, setting) for way, config in ways.items()} == dict.fromkeys(
        ways, meant
    )


@EACH_SETTING
def test_a_default_is_a_value_that_may_be_given(setting: Setting) -> None:
    if setting.default_text:
        assert setting.read(setting.default_text) == setting.default


@EACH_SETTING
def test_a_setting_is_described_in_whole_sentences(setting: Setting) -> None:
    assert setting.description[0].isupper() or setting.description[0] == "`"
    assert setting.description.endswith(".")


def test_names_are_unique_over_all_sections() -> None:
    names = [setting.name for section in SECTIONS for setting in section.settings]
    flags = {setting.flag for setting in SETTINGS.values()}
    assert len(names) == len(set(names)) == len(flags)
    assert not set(names) & {section.name for section in SECTIONS}


def test_only_the_data_directory_has_to_be_set() -> None:
    assert [name for name, setting in SETTINGS.items() if setting.default is None] == ["data_dir"]
    assert load({"data_dir": "/d"}, {}, None) == Config(data_dir="/d")


def test_every_sandbox_level_can_be_chosen() -> None:
    for level in sandbox_levels.CHOICES:
        assert SETTINGS["sandbox"].read(level) == level


def test_a_home_directory_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert load({"data_dir": "~/x"}, {}, None).data_dir == "/home/someone/x"


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0"), (1, "1"), (1024, "1KiB"), (1000_000, "1000000"), (20 * 1024**3, "20GiB")],
)
def test_sizes_are_shown_without_a_fraction(size: int, text: str) -> None:
    assert exact_size(size) == text
