"""Files are replaced whole and keep their mode, owner and links; two editors do not clash."""

import os
import resource
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pants_config.odd_toml import WANTED
from patience import PATIENCE_S
from reapi_local_plugin.pants_config import pants_rc, pants_toml
from reapi_local_plugin.pants_config.edit import EditError, Plan, edit_file


@pytest.fixture
def rc(tmp_path: Path) -> Path:
    return tmp_path / ".pants.rc"


@pytest.fixture
def foreign_directory() -> Iterator[Path]:
    """A directory that this process may read but not write, even if it is root."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name, "foreign")
        directory.mkdir()
        (directory / ".pants.rc").write_text("[GLOBAL]\n")
        directory.parent.chmod(0o755)
        directory.chmod(0o555)
        was_root = os.geteuid() == 0
        if was_root:
            os.seteuid(65534)
        yield directory
        if was_root:
            os.seteuid(0)
        directory.chmod(0o755)


def test_up_and_down_leave_no_file_behind(rc: Path) -> None:
    assert pants_rc.put_block(rc, WANTED).refusal is None
    assert [path.name for path in rc.parent.iterdir()] == [".pants.rc"]

    pants_rc.remove_block(rc)

    assert list(rc.parent.iterdir()) == []


def test_bytes_and_mode_are_the_same_after_up_and_down(rc: Path) -> None:
    content = "\ufeff# Grüße\r\n[GLOBAL]\r\na = '''\r\nb'''".encode()
    rc.write_bytes(content)
    rc.chmod(0o640)

    pants_rc.put_block(rc, WANTED)
    assert b"remote_cache_read = true\r\n" in rc.read_bytes()
    assert stat.S_IMODE(rc.stat().st_mode) == 0o640
    pants_rc.remove_block(rc)

    assert rc.read_bytes() == content
    assert stat.S_IMODE(rc.stat().st_mode) == 0o640


def test_a_new_file_has_the_mode_the_user_gives_new_files(rc: Path) -> None:
    before = os.umask(0o027)
    try:
        pants_rc.put_block(rc, WANTED)
    finally:
        os.umask(before)

    assert stat.S_IMODE(rc.stat().st_mode) == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_file_of_another_user_keeps_its_owner(rc: Path) -> None:
    rc.write_text("[GLOBAL]\n")
    os.chown(rc, 65534, 65534)

    pants_rc.put_block(rc, WANTED)

    assert (rc.stat().st_uid, rc.stat().st_gid) == (65534, 65534)


def test_a_file_that_needs_no_change_is_not_touched(rc: Path) -> None:
    pants_rc.put_block(rc, WANTED)
    before = rc.stat()

    pants_rc.put_block(rc, WANTED)

    assert (rc.stat().st_ino, rc.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_symlink_stays_and_its_target_is_edited(rc: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "rc").write_text("[GLOBAL]")
    rc.symlink_to(Path("shared", "rc"))

    pants_rc.put_block(rc, WANTED)
    assert "remote_cache_read" in (shared / "rc").read_text()
    pants_rc.remove_block(rc)

    assert rc.readlink() == Path("shared", "rc")
    assert (shared / "rc").read_text() == "[GLOBAL]"


def test_a_symlink_to_nothing_is_one_again_after_down(rc: Path, tmp_path: Path) -> None:
    rc.symlink_to("later")

    pants_rc.put_block(rc, WANTED)
    assert (tmp_path / "later").exists()
    pants_rc.remove_block(rc)

    assert rc.is_symlink()
    assert not (tmp_path / "later").exists()


def test_a_symlink_to_itself_is_an_error(rc: Path) -> None:
    rc.symlink_to(".pants.rc")

    with pytest.raises(EditError, match="could not be edited: "):
        pants_rc.put_block(rc, WANTED)


def test_a_directory_in_its_place_is_an_error(rc: Path) -> None:
    rc.mkdir()

    with pytest.raises(EditError, match="Is a directory"):
        pants_rc.put_block(rc, WANTED)


def test_a_read_only_file_is_an_error_and_stays(rc: Path) -> None:
    rc.write_text("[GLOBAL]\n")
    rc.chmod(0o444)

    with pytest.raises(EditError, match=r"file is read-only.*Make the file"):
        pants_rc.put_block(rc, WANTED)

    assert rc.read_text() == "[GLOBAL]\n"


@pytest.mark.parametrize("name", [".pants.rc", "new.rc"])
def test_a_directory_without_the_right_to_write_is_an_error(
    foreign_directory: Path, name: str
) -> None:
    with pytest.raises(EditError, match=r"Permission denied.*its directory readable and writable"):
        pants_rc.put_block(foreign_directory / name, WANTED)

    assert [path.name for path in foreign_directory.iterdir()] == [".pants.rc"]
    assert (foreign_directory / ".pants.rc").read_text() == "[GLOBAL]\n"


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EditError, match="No such file"):
        pants_rc.put_block(tmp_path / "gone" / ".pants.rc", WANTED)


def test_bytes_that_are_not_utf8_are_refused_and_kept(rc: Path) -> None:
    rc.write_bytes(b"# caf\xe9\n[GLOBAL]\n")

    plan = pants_rc.put_block(rc, WANTED)

    assert plan.refusal is not None
    assert plan.refusal.startswith("line 1: the character")
    assert rc.read_bytes() == b"# caf\xe9\n[GLOBAL]\n"


def test_a_plan_that_fails_leaves_the_file_and_frees_the_lock(rc: Path) -> None:
    rc.write_text("[GLOBAL]\n")

    with pytest.raises(UnicodeEncodeError):
        edit_file(rc, lambda _: Plan("\ud800"))

    assert [path.name for path in rc.parent.iterdir()] == [".pants.rc"]
    assert pants_rc.put_block(rc, WANTED).refusal is None


def test_a_write_that_fails_half_way_leaves_the_old_file_alone(rc: Path) -> None:
    rc.write_text("[GLOBAL]\n")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, limits[1]))
    try:
        with pytest.raises(EditError, match="File too large"):
            pants_rc.put_block(rc, WANTED)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert [path.name for path in rc.parent.iterdir()] == [".pants.rc"]
    assert rc.read_text() == "[GLOBAL]\n"


def test_pants_toml_is_edited_in_place(tmp_path: Path) -> None:
    path = tmp_path / "pants.toml"
    path.write_text("[GLOBAL]\n")

    plan = pants_toml.init(path)

    assert path.read_text() == plan.text
    assert "reapi_local_plugin" in path.read_text()


def test_edits_by_many_processes_at_once_all_arrive(rc: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from reapi_local_plugin.pants_config.edit import Plan, edit_file\n"
        "for _ in range(25): edit_file(Path(sys.argv[1]), lambda old: Plan((old or '') + '#\\n'))"
    )
    plugin = Path(pants_rc.__file__).parents[2]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(rc)], env={**os.environ, "PYTHONPATH": str(plugin)}
        )
        for _ in range(4)
    ]

    assert [worker.wait(PATIENCE_S) for worker in workers] == [0, 0, 0, 0]
    assert rc.read_text() == "#\n" * 100
