"""What may be shown, and what is left out of it."""

from __future__ import annotations

import os
import pwd
import socket
from pathlib import Path

import pytest

from reapi_local.execute.sandbox.host.places import CannotShow, Places
from reapi_local.execute.sandbox.host.private_files import find_private
from reapi_local.execute.sandbox.host.zones import Zones


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "homes" / "me"
    made.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(made))
    return made


def why_not(places: Places, path: object) -> str:
    with pytest.raises(CannotShow) as refused:
        places.add(str(path), [])
    return str(refused.value)


def test_no_home_and_nothing_above_one_can_be_named(home: Path) -> None:
    (home.parent / "link").symlink_to(home)
    places = Places()
    assert why_not(places, home) == f"{home} is a home"
    assert why_not(places, home.parent / "link").endswith("is a home")
    assert "contains" in why_not(places, home.parent)
    for path in ("/", "/tmp", "/var", "/run", "/root", "/home"):
        if os.path.isdir(path):
            assert f"{path} " in why_not(places, path)
    for path in Path("/home").iterdir():
        assert f"{path} is a home" in why_not(places, path)
    assert (places.repositories, places.generation) == ({}, 0)


def test_homes_of_people_are_zones() -> None:
    zones = Zones(())
    for account in pwd.getpwall():
        if account.pw_uid in (0, *range(1000, 60000)) and os.path.isdir(account.pw_dir):
            assert zones.zone_of(os.path.realpath(account.pw_dir)), account
    for path in ("/usr", "/usr/bin/env", "/etc/passwd", "/opt", "/var/lib"):
        assert not zones.zone_of(path)


def test_only_absolute_paths_that_exist_and_are_not_the_servers_own(home: Path) -> None:
    data = home / "data"
    (data / "inner").mkdir(parents=True)
    places = Places(data_dir=str(data))
    for path in ("relative", f"{home}/../me/x", f"{home}/x/", "/opt\0"):
        assert "not the absolute path" in why_not(places, path)
    assert "doesn't exist" in why_not(places, home / "absent")
    for path in (data, data / "inner"):
        assert "data directory" in why_not(places, path)
    for path in (home, data, home / "absent"):
        with pytest.raises(CannotShow):
            Places([str(path)], str(data)).check()
    Places(["/usr"], str(data)).check()


def test_repositories_are_remembered_as_long_as_they_exist(home: Path) -> None:
    file = str(home / "places.json")
    places = Places(file=file)
    repositories = [home / f"repository{number}" for number in range(25)]
    for repository in repositories:
        repository.mkdir()
        places.add(str(repository), ["/usr", str(repository), str(home)])
    repositories[-1].rmdir()
    assert [*Places(file=file).repositories] == [str(path) for path in repositories[5:-1]]
    assert [*Places(file=file).tools] == [str(path) for path in repositories[:-1]]
    assert os.stat(file).st_mode & 0o777 == 0o600


def test_a_damaged_memory_is_none(home: Path) -> None:
    for text in ("", "{", "[]", '{"repositories": "x", "tools": [1, null, "/", "relative"]}'):
        (home / "places.json").write_text(text)
        places = Places(file=str(home / "places.json"))
        assert (places.repositories, places.tools) == ({}, ())


def write(path: Path, mode: int = 0o644) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    path.chmod(mode)
    return str(path)


def test_sockets_credentials_and_private_files_are_found(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    private = {write(tmp_path / "a" / "key", 0o600)}
    found = {
        write(tmp_path / ".env"),
        write(tmp_path / "a" / "b" / ".env.local"),
        write(tmp_path / "pip.conf"),
        write(tmp_path / "module" / "config"),
        str(tmp_path / "a" / "pipe"),
        str(tmp_path / "node_modules" / "socket"),
        str(tmp_path / "state"),
    }
    for name in ("HEAD", "objects/x", "refs/x"):
        write(tmp_path / "module" / name)
    for name in ("server.json", "server.lock", "store/.env"):
        write(tmp_path / "state" / name)
    os.mkfifo(tmp_path / "a" / "pipe")
    for name in (
        "a/env",
        "config",
        "node_modules/x/.env",
        "lib/site-packages/x/.npmrc",
        "server.json",
    ):
        write(tmp_path / name)
    write(tmp_path / "program", 0o700)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "node_modules" / "socket"))
        assert {*find_private(str(tmp_path), by_mode=False)} == found
        assert {*find_private(str(tmp_path), by_mode=True)} == found | private
        (tmp_path / "a").chmod(0o700)
        assert {*find_private(str(tmp_path), by_mode=True)} == found


def test_where_a_umask_makes_all_files_private_they_are_seen(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for number in range(501):
        write(tmp_path / str(number), 0o600)
    assert find_private(str(tmp_path), by_mode=True) == ()
