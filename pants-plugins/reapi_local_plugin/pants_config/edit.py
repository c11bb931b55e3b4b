"""A planned edit of a file, and the one way to carry it out: under a lock and in one step."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

_MAX_LOCK_WAIT_S = 10.0


@dataclass(frozen=True)
class Plan:
    """A planned edit, which nothing has carried out yet.

    `text`: the new text; None for no file. `refusal`: why the edit is not possible, and what to do;
    then `text` is the old text, and `paste` has the lines to put in by hand. `written`: our lines
    that are in the new text, and `added`: those that were not in the old one. `removed`: our lines
    that were taken out. `left`: lines of the user that were among ours and stay. `kept`: the
    settings that the user made, so that we make none: key to value, as it is written in the file.
    """

    text: str | None
    written: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    kept: Mapping[str, str] = field(default_factory=dict)
    refusal: str | None = None
    paste: tuple[str, ...] = ()


class UnsafeEditError(Exception):
    """A text cannot be extended safely; the message says why and what to do."""


class EditError(Exception):
    """A file could not be read or replaced, and was not changed."""


def edit_file(path: Path, plan_for: Callable[[str | None], Plan]) -> Plan:
    """Read a file, call `plan_for` with its text (None for no file), and carry out the plan.

    Returns the plan. The file is replaced by a rename, so a reader sees the old text or the new. It
    keeps its mode, and its owner if we may set it. A symlink stays, and the file that it names is
    edited. A lock on the directory lets only one call of this function edit at a time.

    Raises:
        EditError: the file or its directory cannot be read, locked or written.
    """
    try:
        target = _resolve(path)
        with _exclusive(target.parent):
            old = _read(target)
            plan = plan_for(old)
            if plan.text != old:
                _write(target, plan.text)
            return plan
    except OSError as error:
        raise EditError(_explain(path, error)) from error


def _resolve(path: Path) -> Path:
    try:
        return path.resolve()
    except RuntimeError as error:  # CPython before 3.13; on later ones reading it fails
        raise OSError(errno.ELOOP, "it is a symlink to itself", path) from error


@contextmanager
def _exclusive(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        deadline = time.monotonic() + _MAX_LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise EditError(
                        f"Another process has locked {directory} for {_MAX_LOCK_WAIT_S:.0f} s. "
                        "Wait until it has ended (`lsof` on the directory names it) and try again."
                    ) from None
                time.sleep(0.02)
            except OSError:
                break  # a file system without locks; even so a reader never sees half a file
        yield
    finally:
        os.close(descriptor)


def _read(target: Path) -> str | None:
    try:
        # Bytes that are not UTF-8 become surrogates, which the scanner refuses with their line.
        return target.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None


def _write(target: Path, text: str | None) -> None:
    before = target.stat() if target.exists() else None
    if before is not None:
        if not before.st_mode & 0o222:  # root could write it, but the user protected it
            raise PermissionError(errno.EACCES, "the file is read-only", str(target))
        os.close(os.open(target, os.O_WRONLY))
    if text is None:
        target.unlink()
    else:
        _replace(target, text.encode("utf-8", "surrogateescape"), before)
    with suppress(OSError):  # not every file system can sync a directory
        _sync_directory(target.parent)


def _replace(target: Path, data: bytes, before: os.stat_result | None) -> None:
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if before is not None:
                with suppress(PermissionError):
                    os.fchown(descriptor, before.st_uid, before.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(target)
    except BaseException:
        temporary.unlink()
        raise


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explain(path: Path, error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return (
            f"{path} cannot be changed: {reason}. It was not changed. Make the file and its "
            "directory readable and writable for this user, then try again."
        )
    return f"{path} could not be edited: {reason}. It was not changed."
