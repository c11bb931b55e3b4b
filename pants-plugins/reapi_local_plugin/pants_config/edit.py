"""What an edit of a file came to, and the one way to carry it out: under a lock and in one step."""

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

_LOCK_PATIENCE_S = 10.0


@dataclass(frozen=True)
class Plan:
    """The outcome of planning an edit; nothing is done yet.

    `text` is the new text, None for no file. With a `refusal` (what stands in the way, and what to
    do) it is the old text, and `paste` has the lines to put in by hand.
    `written` are our lines now in the file, `removed` those taken out, `left` lines of the user
    that stood among ours and stay. `kept` are the settings that the user had made, so that we
    did not: key to value, as it stands in the file.
    """

    text: str | None
    written: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    kept: Mapping[str, str] = field(default_factory=dict)
    refusal: str | None = None
    paste: tuple[str, ...] = ()


class UnsafeEditError(Exception):
    """A text is written in a way that cannot be extended safely; the message says what to do."""


class EditError(Exception):
    """A file could not be read or replaced; it is as it was."""


def edit_file(path: Path, plan_for: Callable[[str | None], Plan]) -> Plan:
    """Read a file (None when there is none), plan, and carry the plan out; the plan is returned.

    The file is replaced by a rename, so a reader sees the old text or the new. It keeps its mode,
    and its owner where we may set one. A symlink stays: the file it leads to is edited. Editors
    through this function exclude each other by a lock on the directory.

    Raises: EditError when the file or its directory cannot be read, locked or written.
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
    except RuntimeError as error:  # CPython before 3.13; later ones leave it to the reading
        raise OSError(errno.ELOOP, "it is a symlink that leads back to itself", path) from error


@contextmanager
def _exclusive(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        deadline = time.monotonic() + _LOCK_PATIENCE_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise EditError(
                        f"Another process keeps {directory} locked since {_LOCK_PATIENCE_S:.0f} s. "
                        "Wait until it is done (`lsof` on the directory names it) and try again."
                    ) from None
                time.sleep(0.02)
            except OSError:
                break  # a file system without locks; the rename still never leaves half a file
        yield
    finally:
        os.close(descriptor)


def _read(target: Path) -> str | None:
    try:
        # Bytes that are no UTF-8 survive as surrogates, which the scanner refuses with their line.
        return target.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None


def _write(target: Path, text: str | None) -> None:
    before = target.stat() if target.exists() else None
    if before is not None:
        if not before.st_mode & 0o222:  # root may write all the same, but was asked not to
            raise PermissionError(errno.EACCES, "the file is read-only", str(target))
        os.close(os.open(target, os.O_WRONLY))
    if text is None:
        target.unlink()
    else:
        _replace(target, text.encode("utf-8", "surrogateescape"), before)
    with suppress(OSError):  # not every file system syncs a directory
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
            f"{path} cannot be changed: {reason}. It is as it was. Make the file and its directory "
            "readable and writable for this user, then try again."
        )
    return f"{path} could not be edited: {reason}. It is as it was."
