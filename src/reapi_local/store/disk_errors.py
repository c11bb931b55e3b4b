"""Maps the operating system's "no space" errors to the error that clients receive."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from reapi_local.errors import StorageFull

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turn the operating system's "no space" errors into StorageFull."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise StorageFull(f"the disk refused a write: {error}; free some space") from error
