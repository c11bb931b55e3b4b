"""Values of each kind: those that are read, and those that are refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from config.companions import companions
from reapi_local.config.settings import SETTINGS, Setting
from reapi_local.config.settings_file import read_table
from reapi_local.config.sources import ConfigError, load

MIB = 1024 * 1024


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
        (1048576, MIB),
        ("0", 0),
    ],
)
def test_sizes_are_read_as_people_write_them(text: object, size: int) -> None:
    assert SETTINGS["min_free"].read(text) == size


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("port", "-1", "a whole number between 0 and 65535"),
        ("port", "65536", "a whole number between 0 and 65535"),
        ("port", "²", "a whole number between 0 and 65535"),
        ("port", "8980.5", "a whole number between 0 and 65535"),
        ("port", True, "a whole number between 0 and 65535"),
        ("slots", "1025", "a whole number between 0 and 1024"),
        ("slots", "9" * 400, "a whole number between 0 and 1024"),
        ("max_size", "1023KiB", "a size between 1MiB and 4TiB"),
        ("max_size", 10, "a size between 1MiB and 4TiB"),
        ("max_size", "100000TiB", "a size between 1MiB and 4TiB"),
        ("max_size", "", "a size between 1MiB and 4TiB"),
        ("max_size", True, "a size between 1MiB and 4TiB"),
        ("input_cache", "0", "a size between 1MiB and 4TiB"),
        ("min_free", "-1", "a size between 0 and 4TiB"),
        ("min_free", "1XB", "a size between 0 and 4TiB"),
        ("min_free", "1 2", "a size between 0 and 4TiB"),
        ("min_free", "0x10", "a size between 0 and 4TiB"),
        ("min_free", "1,5GB", "a size between 0 and 4TiB"),
        ("min_free", "5TiB", "a size between 0 and 4TiB"),
        ("lease", "nan", "between 0 and 1e9 seconds"),
        ("lease", "-1", "between 0 and 1e9 seconds"),
        ("lease", "inf", "between 0 and 1e9 seconds"),
        ("lease", None, "between 0 and 1e9 seconds"),
        ("lease", True, "between 0 and 1e9 seconds"),
        ("idle_exit", "1.1e9", "between 0 and 1e9 seconds"),
        ("hermetic", "perhaps", "true or false"),
        ("hermetic", 2, "true or false"),
        ("instances", 3, "a list of instance names"),
        ("instances", ["a", 3], "a list of instance names"),
        ("sync", "", "one of full, relaxed"),
        ("transport", "GRPCIO", "one of auto, native, grpcio"),
        ("sandbox", ["slots"], "one of auto, slots, bubblewrap, process-group"),
        ("host", "", "a non-empty string"),
        ("host", 1, "a non-empty string"),
        ("data_dir", "", "a non-empty string"),
        ("tls_cert", "", "a non-empty string"),
        ("auth", "basic", "one of token, none"),
        ("anonymous", "no", "one of read, write"),
    ],
)
def test_what_can_not_be_used_is_refused_with_what_is_allowed(
    name: str, value: object, allowed: str
) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        SETTINGS[name].read(value)
    assert str(caught.value) == f"must be {allowed}, not {value!r}"


@pytest.mark.parametrize("value", ["blobs", ["a", "a//b"], "a,b/uploads"])
def test_an_instance_name_that_can_not_be_is_told_with_its_reason(value: object) -> None:
    with pytest.raises(ValueError, match="instance name '"):
        SETTINGS["instances"].read(value)


# Whatever TOML can hold, and texts as flags and variables have them: undecodable bytes included.
TEXTS = st.text(st.characters()) | st.from_regex(r"[-+~]?[0-9a-zA-Z./,_ ]{0,12}")
SCALARS = TEXTS | st.booleans() | st.integers() | st.floats() | st.dates() | st.none()
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(TEXTS, SCALARS, max_size=3)
ANY_SETTING = st.sampled_from(list(SETTINGS.values()))


def value_or_problem(setting: Setting, value: object) -> Any:
    """What becomes of a value: that of the configuration, or the message."""
    try:
        config = load({"data_dir": "/d", setting.name: value}, companions(setting), None)
    except ConfigError as error:
        return str(error)
    section = getattr(config, setting.section) if setting.section else config
    return getattr(section, setting.name)


@given(setting=ANY_SETTING, value=VALUES)
@example(setting=SETTINGS["data_dir"], value="~nobody-of-this-name/\0")
@example(setting=SETTINGS["data_dir"], value="~\0")
@example(setting=SETTINGS["host"], value="\udcff")
@example(setting=SETTINGS["lease"], value=10**5000)
@example(setting=SETTINGS["min_free"], value=10**5000)
@example(setting=SETTINGS["port"], value=10**5000)
@settings(max_examples=500)
def test_a_value_is_read_or_refused_and_nothing_else(setting: Setting, value: object) -> None:
    outcome = value_or_problem(setting, value)
    refused = isinstance(outcome, str) and outcome.startswith(f"{setting.flag}: ")
    assert refused or setting.read(outcome) == outcome


@given(
    table=st.dictionaries(TEXTS | st.sampled_from(["store", "lease", "log"]), VALUES, max_size=5)
)
def test_whatever_is_in_the_file_each_entry_is_a_setting_or_a_problem(
    table: dict[str, Any],
) -> None:
    given, problems = read_table(table, "file")
    entries = sum(
        len(value) if name in ("store", "log") and isinstance(value, dict) else 1
        for name, value in table.items()
    )
    assert len(given) + len(problems) == entries
