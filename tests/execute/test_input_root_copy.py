"""Copying input roots, and deleting what actions leave."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from reapi_local.execute.remove_tree import remove_tree
from reapi_local.execute.sandbox.supervised.input_root_copy import copy_layers


def layer(path: Path, *names: str) -> str:
    for name in names:
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{path.name} {name}")
    return str(path)


def test_a_copy_shares_no_inode_with_its_layer(tmp_path: Path) -> None:
    source = layer(tmp_path / "one", "a", "b/c")
    (copy := tmp_path / "copy").mkdir()
    copy_layers([source], str(copy))
    for name in ("a", "b/c"):
        assert (copy / name).read_text() == f"one {name}"
        assert (copy / name).stat().st_ino != Path(source, name).stat().st_ino
        assert (copy / name).stat().st_nlink == 1


def test_modes_and_times_are_preserved_of_directories_too(tmp_path: Path) -> None:
    source = layer(tmp_path / "one", "closed/file", "plain")
    os.chmod(f"{source}/plain", 0o640)
    os.chmod(f"{source}/closed", 0o555)
    for name in ("plain", "closed/file", "closed", "."):
        os.utime(f"{source}/{name}", ns=(1, 1_234_567_891_234_567_891))
    (copy := tmp_path / "copy").mkdir()
    copy_layers([source], str(copy))
    for name, mode in (("plain", 0o640), ("closed", 0o555)):
        assert (copy / name).stat().st_mode & 0o7777 == mode
    for name in ("plain", "closed/file", "closed", "."):
        assert (copy / name).stat().st_mtime_ns == 1_234_567_891_234_567_891


def test_a_directory_in_two_layers_gets_the_mode_of_the_first(tmp_path: Path) -> None:
    layers = [layer(tmp_path / "one", "shared/a"), layer(tmp_path / "two", "shared/b")]
    os.chmod(f"{layers[0]}/shared", 0o711)
    (copy := tmp_path / "copy").mkdir()
    copy_layers(layers, str(copy))
    assert sorted(os.listdir(copy / "shared")) == ["a", "b"]
    assert (copy / "shared").stat().st_mode & 0o777 == 0o711


def test_two_layers_with_the_same_file_are_refused(tmp_path: Path) -> None:
    layers = [layer(tmp_path / "one", "same"), layer(tmp_path / "two", "same")]
    (copy := tmp_path / "copy").mkdir()
    with pytest.raises(FileExistsError):
        copy_layers(layers, str(copy))


def test_a_symlink_is_never_written_through(tmp_path: Path) -> None:
    (outside := tmp_path / "outside").mkdir()
    first = layer(tmp_path / "one", "file")
    os.symlink(outside, f"{first}/door")
    second = layer(tmp_path / "two", "door/intruder")
    (copy := tmp_path / "copy").mkdir()
    with pytest.raises(FileExistsError):
        copy_layers([first, second], str(copy))
    assert os.listdir(outside) == []


def test_a_fifo_is_refused(tmp_path: Path) -> None:
    source = layer(tmp_path / "one", "file")
    os.mkfifo(f"{source}/pipe")
    (copy := tmp_path / "copy").mkdir()
    with pytest.raises(OSError, match="pipe isn't a file"):
        copy_layers([source], str(copy))


def test_large_and_sparse_files_are_copied_whole(tmp_path: Path) -> None:
    source = layer(tmp_path / "one", "file")
    with open(f"{source}/file", "r+b") as file:
        file.seek(50_000_000)
        file.write(b"the end")
    (copy := tmp_path / "copy").mkdir()
    copy_layers([source], str(copy))
    assert (copy / "file").read_bytes() == Path(source, "file").read_bytes()


def test_removal_follows_no_symlink_and_works_at_any_mode_and_depth(tmp_path: Path) -> None:
    kept = layer(tmp_path / "kept", "file")
    (tree := tmp_path / "tree").mkdir()
    os.symlink(kept, tree / "link")
    (tree / "closed" / "inner").mkdir(parents=True)
    os.chmod(tree / "closed", 0)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tree / "socket"))
    descriptor = os.open(tree, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deeper", dir_fd=descriptor)
        below = os.open("deeper", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    remove_tree(str(tree))
    assert not tree.exists()
    assert Path(kept, "file").exists()
    remove_tree(str(tree))
