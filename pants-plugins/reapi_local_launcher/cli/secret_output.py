"""Writing a secret to a file or to standard output, so that nobody else can read it there."""

from __future__ import annotations

import os
import secrets
import stat
import sys
from contextlib import suppress
from pathlib import Path

from reapi_local_launcher.launcher_error import LauncherError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_WHAT = "The secret was not written."
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_secret(text: str, output: str | None) -> None:
    """Write a text to the file `output`, or to standard output if it is None.

    Raises LauncherError if others could read it there, or if it can't be written.
    """
    if output is None:
        close_to_others()
        sys.stdout.write(text)
        return
    path = Path(output).expanduser()
    try:
        _replace(path, text)
    except OSError as error:
        why = f"{error.strerror or error}: {path}."
        raise LauncherError(_WHAT, why, "Name a file that you may write.") from error


def close_to_others() -> None:
    """If standard output goes to a file, take the permissions of others away before the secret.

    A shell makes the file of `> FILE` readable for everybody. Raises LauncherError if it is
    somebody else's file.
    """
    try:
        number = sys.stdout.fileno()
        mode = os.fstat(number).st_mode
    except (OSError, ValueError):
        return  # it is closed, or is no file of the system
    if not stat.S_ISREG(mode) or not mode & _OTHERS:
        return
    try:
        os.fchmod(number, stat.S_IMODE(mode) & ~_OTHERS)
    except OSError as error:
        raise LauncherError(
            _WHAT,
            "Standard output goes to a file that others may read, and that isn't yours.",
            "Write it to a file of your own.",
        ) from error


def _replace(path: Path, text: str) -> None:
    """Replace a file by one with mode 0600, never half written. Raises LauncherError and OSError.

    It replaces only regular files: as root, it could replace /dev/stdout.
    """
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(path.lstat().st_mode):
            raise LauncherError(
                _WHAT, f"{path} is there already, and is no regular file.", "Name another file."
            )
    made = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        with open(os.open(made, _FLAGS, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        made.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            made.unlink()
        raise
