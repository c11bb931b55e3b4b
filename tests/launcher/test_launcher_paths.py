"""Where things are, compared with platformdirs itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from reapi_local_launcher import paths
from reapi_local_launcher.server_settings import ServerSettings

_ENVIRONMENTS: list[dict[str, str]] = [
    {"HOME": "/home/someone"},
    {"HOME": "/home/someone/"},
    {"HOME": "/"},
    {},
    {"HOME": ""},
    {"HOME": "relative"},
    {"HOME": "/home/someone", "XDG_CACHE_HOME": "/var/cache/someone"},
    {"HOME": "/home/someone", "XDG_CACHE_HOME": ""},
    {"HOME": "/home/someone", "XDG_CACHE_HOME": "relative"},
    {"HOME": "/home/someone", "XDG_CACHE_HOME": "~/caches"},
    {"XDG_CACHE_HOME": "/var/cache/someone"},
]


@pytest.mark.parametrize("env", _ENVIRONMENTS, ids=str)
def test_the_cache_home_is_that_of_platformdirs(env: dict[str, str]) -> None:
    question = "import platformdirs; print(platformdirs.user_cache_path('reapi-local'))"
    asked = subprocess.run(
        [sys.executable, "-c", question], env=env, capture_output=True, text=True, check=True
    )

    assert str(paths.cache_home(env)) == asked.stdout.strip()


def test_the_cache_home_on_macos_is_in_library_caches() -> None:
    home = paths.cache_home({"HOME": "/Users/someone"}, platform="darwin")

    assert home == Path("/Users/someone/Library/Caches/reapi-local")


def test_a_data_directory_may_begin_with_a_tilde_or_be_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    env = {"HOME": str(tmp_path)}

    assert paths.data_dir(ServerSettings(data_dir="~/a/../b"), env) == tmp_path / "b"
    assert paths.data_dir(ServerSettings(data_dir=str(tmp_path / "link")), env) == tmp_path / "real"
    assert paths.data_dir(ServerSettings(), env) == tmp_path / ".cache" / "reapi-local" / "data"


def test_a_variable_names_the_data_directory_unless_the_settings_do(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "REAPI_LOCAL_DATA_DIR": str(tmp_path / "by-variable")}

    assert paths.data_dir(ServerSettings(), env) == tmp_path / "by-variable"
    assert paths.data_dir(ServerSettings(data_dir=str(tmp_path / "x")), env) == tmp_path / "x"
