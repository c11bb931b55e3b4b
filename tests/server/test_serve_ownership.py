"""A data directory in which another user could have put something is not adopted."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from server.process import Process, state_of, stop

ANOTHER = 54321
TOKEN = "known-to-the-other-user-" + "x" * 20


def state_file(data: Path) -> Path:
    file = data / "server.json"
    file.write_text(json.dumps({**_STATE, "data_dir": str(data), "token": TOKEN}))
    file.chmod(0o600)
    return file


_STATE = {
    **dict.fromkeys(("boot_id", "version", "host"), "x"),
    **dict.fromkeys(("started_at", "grpc_port", "admin_port", "max_size_bytes"), 0),
    "pid": None,
}


def open_to_everybody(data: Path) -> str:
    state_file(data)
    data.chmod(0o777)
    return f"chmod go-w {data}"


def open_to_a_group(data: Path) -> str:
    state_file(data)
    data.chmod(0o770)
    return f"chmod go-w {data}"


def state_file_open_to_everybody(data: Path) -> str:
    state_file(data).chmod(0o666)
    return f"chmod go-w {data / 'server.json'}"


def state_file_is_a_link(data: Path) -> str:
    state_file(data).rename(data / "elsewhere")
    (data / "server.json").symlink_to("elsewhere")
    return f"rm {data / 'server.json'}"


def lock_is_a_link(data: Path) -> str:
    (data / "server.lock").symlink_to("elsewhere")
    return f"rm {data / 'server.lock'}"


def of_another_user(data: Path) -> str:
    os.chown(state_file(data), ANOTHER, ANOTHER)
    os.chown(data, ANOTHER, ANOTHER)
    return f"chown -R {os.getuid()} {data}"


def state_file_of_another_user(data: Path) -> str:
    os.chown(state_file(data), ANOTHER, ANOTHER)
    return f"chown -R {os.getuid()} {data / 'server.json'}"


def lock_of_another_user(data: Path) -> str:
    (data / "server.lock").touch()
    os.chown(data / "server.lock", ANOTHER, ANOTHER)
    return f"chown -R {os.getuid()} {data / 'server.lock'}"


PREPARED = (
    *(open_to_everybody, open_to_a_group, state_file_open_to_everybody),
    *(state_file_is_a_link, lock_is_a_link),
    *(of_another_user, state_file_of_another_user, lock_of_another_user),
)


@pytest.mark.parametrize("prepare", PREPARED)
def test_what_others_could_have_prepared_is_refused_with_a_way_out(
    tmp_path: Path, prepare: Callable[[Path], str]
) -> None:
    if "another_user" in prepare.__name__ and os.getuid() != 0:
        pytest.skip("only root can give files away")
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    command = prepare(data)
    with Process("--data-dir", str(data)) as process:
        answer = process.ready()
    assert (answer["ready"], answer.get("error")) == (False, "data-dir-unusable")
    assert command in answer["remedy"]
    assert "--data-dir" in answer["remedy"]
    assert not (data / "elsewhere").exists() or TOKEN in (data / "elsewhere").read_text()


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o755])
def test_a_directory_that_only_its_owner_writes_goes_on_working(tmp_path: Path, mode: int) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(mode)
    state_file(data)
    (data / "server.lock").touch(mode=0o664)
    with Process("--data-dir", str(data)) as process:
        process.serving()
        assert state_of(data)["token"] == TOKEN
        stop(process)


def test_a_link_that_waits_for_the_next_state_file_leads_nowhere(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    victim = tmp_path / "victim"
    victim.write_text("content")
    (data / "server.json.new").symlink_to(victim)
    with Process("--data-dir", str(data)) as process:
        process.serving()
    assert victim.read_text() == "content"


@pytest.mark.parametrize("sandbox", ["slots", "bubblewrap"])
def test_whatever_the_umask_nothing_can_be_written_by_others(tmp_path: Path, sandbox: str) -> None:
    """Some service managers and containers begin with the umask 0."""
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    before = os.umask(0)
    try:
        process = Process("--data-dir", str(data), "--execution", "on", "--sandbox", sandbox)
    finally:
        os.umask(before)
    with process:
        if not process.ready()["ready"]:
            pytest.skip(f"{sandbox} doesn't work here")
        made = [path for path in data.rglob("*") if not path.is_symlink()]
        assert data / "store" in made
        assert [path for path in made if path.stat().st_mode & 0o022] == []
