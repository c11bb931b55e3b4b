"""The input root of an action: 1,000 files of 4 KB in 20 directories."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import blobs

from reapi_local.proto import remote_execution_pb2 as re_pb2

_DIRECTORIES = 20
_FILES_IN_EACH = 50
_FILE_BYTES = 4096


@dataclass(frozen=True)
class InputRoot:
    """``digest``: of the root. ``content``: all its blobs, or those that another root lacks."""

    digest: re_pb2.Digest
    content: list[bytes]


class Inputs:
    """A tree, and others that differ from it in one file."""

    def __init__(self) -> None:
        self._files = {
            f"directory{number:02}": blobs.random_blobs(_FILES_IN_EACH, _FILE_BYTES)
            for number in range(_DIRECTORIES)
        }
        self._directories = {name: _directory(files) for name, files in self._files.items()}

    def whole(self) -> InputRoot:
        root = self._root()
        files = [data for files in self._files.values() for data in files]
        return InputRoot(blobs.digest_of(root), [*files, *self._directories.values(), root])

    def changed(self) -> InputRoot:
        """One file has new content, which it keeps in what is made later."""
        name = next(iter(self._files))
        self._files[name][0] = os.urandom(_FILE_BYTES)
        self._directories[name] = _directory(self._files[name])
        root = self._root()
        content = [self._files[name][0], self._directories[name], root]
        return InputRoot(blobs.digest_of(root), content)

    def write(self, tree: Path) -> None:
        """The same as plain files."""
        for name, files in self._files.items():
            (tree / name).mkdir(parents=True)
            for number, data in enumerate(files):
                (tree / name / _file_name(number)).write_bytes(data)

    def _root(self) -> bytes:
        nodes = [
            re_pb2.DirectoryNode(name=name, digest=blobs.digest_of(data))
            for name, data in self._directories.items()
        ]
        return re_pb2.Directory(directories=nodes).SerializeToString()


def _directory(files: list[bytes]) -> bytes:
    nodes = [
        re_pb2.FileNode(name=_file_name(number), digest=blobs.digest_of(data))
        for number, data in enumerate(files)
    ]
    return re_pb2.Directory(files=nodes).SerializeToString()


def _file_name(number: int) -> str:
    return f"file{number:02}"
