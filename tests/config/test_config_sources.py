"""Which source counts, and what is told of what is wrong in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reapi_local.config.schema import AccessConfig, Config, StoreConfig
from reapi_local.config.sources import ConfigError, load, misspelt

MIB = 1024 * 1024
NO_BRACKETS = str.maketrans("", "", "[]")
SECTIONS_AS_WRITTEN = "[listen], [store], [execute], [limits], [access], [history], [log]"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.toml"


def problems(
    flags: dict[str, Any], environment: dict[str, str] | None = None, file: Path | None = None
) -> list[str]:
    """The problems that are told, a line each."""
    with pytest.raises(ConfigError) as caught:
        load({"data_dir": "/d", **flags}, environment or {}, str(file) if file else None)
    return str(caught.value).splitlines()


def problem_in(file: Path, content: str) -> str:
    file.write_text(content, encoding="utf-8")
    [line] = problems({}, file=file)
    start, _, rest = line.partition(f"{file}: ")
    assert not start
    return rest


def test_a_flag_counts_before_a_variable_before_the_file_before_the_default(file: Path) -> None:
    file.write_text(
        'data_dir = "/d"\n[store]\nmax_size = "3MiB"\nlease = 30\nmin_free = 0\n'
        '[access]\ninstances = ["a", "b/c"]\n'
    )
    environment = {"REAPI_LOCAL_MAX_SIZE": "2MiB", "REAPI_LOCAL_LEASE": "20"}
    assert load({"max_size": "1MiB"}, environment, str(file)) == Config(
        data_dir="/d",
        store=StoreConfig(max_size=MIB, lease=20.0, min_free=0),
        access=AccessConfig(instances=("a", "b/c")),
    )


def test_everything_that_is_wrong_in_all_sources_is_told_at_once(file: Path) -> None:
    file.write_text('kind = 1\n[store]\nsync = "perhaps"\n[listn]\nport = 1\n')
    environment = {"REAPI_LOCAL_TRANSPORT": "pigeon", "REAPI_LOCAL_MAXSIZE": "1GiB"}
    assert problems({"max_size": "much", "lease": "-1"}, environment, file) == [
        "--max-size: must be a size between 1MiB and 4TiB, not 'much'",
        "--lease: must be between 0 and 1e9 seconds, not '-1'",
        "REAPI_LOCAL_TRANSPORT: must be one of auto, native, grpcio, not 'pigeon'",
        f"{file}: store.sync: must be one of full, relaxed, not 'perhaps'",
        f"{file}: kind isn't a setting; known names: data_dir, {SECTIONS_AS_WRITTEN}",
        f"{file}: listn isn't a section; did you mean listen?",
        "REAPI_LOCAL_MAXSIZE isn't a setting and has no effect; did you mean REAPI_LOCAL_MAX_SIZE?",
    ]


def test_an_unusable_value_is_told_where_a_stronger_source_has_a_good_one() -> None:
    [problem] = problems({"port": "1"}, {"REAPI_LOCAL_PORT": "x"})
    assert problem.startswith("REAPI_LOCAL_PORT: ")


def test_without_a_data_directory_every_way_to_set_it_is_told() -> None:
    with pytest.raises(ConfigError) as caught:
        load({}, {}, None)
    assert str(caught.value) == (
        "data_dir isn't set; give --data-dir, the variable REAPI_LOCAL_DATA_DIR, or data_dir in "
        "the settings file"
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("max_size = 1", "max_size belongs in the section [store]"),
        ("[listen]\nlease = 1", "listen.lease belongs in the section [store]"),
        ('[store]\ndata_dir = "/d"', "store.data_dir belongs at the top of the file"),
        ("maxsize = 1", "maxsize isn't a setting; did you mean max_size in the section [store]?"),
        (
            "[log]\ndatadir = 1",
            "log.datadir isn't a setting; did you mean data_dir at the top of the file?",
        ),
        ("[store]\nmaxsize = 1", "store.maxsize isn't a setting; did you mean max_size?"),
        ("datadir = 1", "datadir isn't a setting; did you mean data_dir?"),
        ("[stores]\nlease = 1", "stores isn't a section; did you mean store?"),
        ("[execution]\nslots = 1", "execution isn't a section; did you mean execute?"),
        (
            "[zoo]",
            f"zoo isn't a section; known names: {SECTIONS_AS_WRITTEN}".translate(NO_BRACKETS),
        ),
        ("[log]\ncolour = 1", "log.colour isn't a setting; known names: log_format"),
        ("[store.lease]", "store.lease: must be between 0 and 1e9 seconds, not {}"),
        ("store = 1", "store must be a section, [store]"),
        ("[[store]]\nlease = 1", "store must be a section, [store]"),
    ],
)
def test_a_name_that_is_wrong_in_the_file_is_told_with_the_one_that_is_right(
    file: Path, content: str, told: str
) -> None:
    assert problem_in(file, content) == told


@pytest.mark.parametrize("content", [None, b"max_size = ", b"\xff", b"a = " + b"[" * 100_000])
def test_a_file_that_can_not_be_read_is_told_with_all_else(
    file: Path, content: bytes | None
) -> None:
    if content is not None:
        file.write_bytes(content)
    port, unread = problems({"port": "x"}, file=file)
    assert port.startswith("--port: ")
    assert unread.startswith(f"the settings file {file} can't be read: ")


def test_variables_that_are_no_settings_are_left_to_others() -> None:
    environment = {"REAPI_LOCAL_VENV": "x", "PORT": "1", "REAPI_LOCAL_PORT": "2"}
    assert load({"data_dir": "/d"}, environment, None).listen.port == 2
    assert misspelt(environment) == []


def test_a_variable_that_is_nearly_a_setting_is_told() -> None:
    given = dict.fromkeys(["REAPI_LOCAL_MAXSIZE", "REAPI_LOCAL_PORT", "REAPI_LOCAL_VENV", "X"], "1")
    assert misspelt(given) == [
        "REAPI_LOCAL_MAXSIZE isn't a setting and has no effect; did you mean REAPI_LOCAL_MAX_SIZE?"
    ]
