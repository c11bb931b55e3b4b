"""What users are told when the operating system refuses a write."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from reapi_local_launcher.labels import Labels
from reapi_local_launcher.launcher_error import LauncherError

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def disk_errors(what: str, labels: Labels) -> Iterator[None]:
    """Turn an OSError in the block into LauncherError; `what` happened is its first sentence.

    A closed pipe is about the output of the command, and stays what it is.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise LauncherError(what, f"{reason(error)}.", remedy(error, labels)) from error


def is_full(error: OSError) -> bool:
    """Whether the disk or the user's quota has no space left."""
    return error.errno in _FULL


def reason(error: OSError) -> str:
    """Why, and for which file, without a full stop."""
    where = f": {error.filename}" if error.filename else ""
    return f"{error.strerror or error}{where}"


def remedy(error: OSError, labels: Labels) -> str:
    """What to do about it."""
    do = "Free some space on that disk" if is_full(error) else "Let this user write there"
    return (
        f"{do}, or choose another directory: with {labels.data_dir} for the server's data, with "
        f"XDG_CACHE_HOME for all of reapi-local. Then run `{labels.up}`."
    )
