"""Makes input roots by copying, for sandboxes without an overlay.

Never by hard links: an action could write through one to a file that other actions use.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Sequence
from typing import Final

_COPY_BYTES: Final = 1 << 30
_COPY_RANGE_UNSUPPORTED: Final = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
)


def copy_layers(layers: Sequence[str], destination: str, owner: int | None = None) -> None:
    """Copy the union of ``layers`` into the empty directory ``destination``.

    Modes, times and symlinks are preserved. A directory that is in several layers gets the mode
    and time of the first one. The copies belong to the uid ``owner``; None = to the server's user.

    Raises:
        FileExistsError: two layers hold the same file.
    """
    directories: dict[str, os.stat_result] = {}
    _chown(destination, owner)
    for layer in layers:
        directories.setdefault(destination, os.stat(layer))
        _copy_directory(layer, destination, owner, directories)
    # After all entries, and children before parents: creating an entry changes the directory's
    # time, and needs a mode that allows it.
    for path, status in reversed(directories.items()):
        os.chmod(path, _permissions(status))
        os.utime(path, ns=_times(status))


def _copy_directory(
    source: str, target: str, owner: int | None, directories: dict[str, os.stat_result]
) -> None:
    pending = [(source, target)]
    while pending:
        source, target = pending.pop()
        if target not in directories:
            directories[target] = os.stat(source)
            os.mkdir(target, mode=0o700)
            _chown(target, owner)
        with os.scandir(source) as entries:
            for entry in entries:
                path = os.path.join(target, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    pending.append((entry.path, path))
                else:
                    _copy_entry(entry, path)
                    _chown(path, owner)


def _copy_entry(entry: os.DirEntry[str], target: str) -> None:
    if entry.is_symlink():
        os.symlink(os.readlink(entry.path), target)
        os.utime(target, ns=_times(entry.stat(follow_symlinks=False)), follow_symlinks=False)
        return
    if not entry.is_file(follow_symlinks=False):
        raise OSError(f"{entry.path} isn't a file, a directory or a symlink")
    with open(entry.path, "rb", buffering=0) as source, open(target, "xb", buffering=0) as copy:
        status = os.fstat(source.fileno())
        _copy_data(source.fileno(), copy.fileno())
        os.fchmod(copy.fileno(), _permissions(status))
        os.utime(copy.fileno(), ns=_times(status))


def _copy_data(source: int, target: int) -> None:
    """Copy content; share blocks if the file system can."""
    try:
        while os.copy_file_range(source, target, _COPY_BYTES):
            pass
    except (AttributeError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _COPY_RANGE_UNSUPPORTED:
            raise
        with open(source, "rb", closefd=False) as reader, open(target, "wb", closefd=False) as copy:
            shutil.copyfileobj(reader, copy)


def _chown(path: str, owner: int | None) -> None:
    if owner is not None:
        os.chown(path, owner, owner, follow_symlinks=False)


def _permissions(status: os.stat_result) -> int:
    return status.st_mode & 0o777


def _times(status: os.stat_result) -> tuple[int, int]:
    return status.st_atime_ns, status.st_mtime_ns
