"""The SQLite database of the journal: opened, checked, set aside if it can't be used.

Durability: a commit survives the death of the process at once. After a power loss the last commits
may be missing, and the database is whole (WAL with ``synchronous=NORMAL``, SQLite's documentation).
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator
from typing import Final

from reapi_local.journal.schema import TABLES, VERSION

_log = logging.getLogger(__name__)

FILE: Final = "journal.db"
DAMAGED: Final = "damaged.db"
_PAGE_BYTES: Final = 4096
_MIN_PAGES: Final = 256
_WAL_BYTES: Final = 4 * 1024 * 1024
_BUSY_SECONDS: Final = 0.5

DAMAGE: Final = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))
LOCKED: Final = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED))
PASSING: Final = LOCKED | {
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY),
    *(sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM, sqlite3.SQLITE_PROTOCOL),
}
"""Errors that say nothing about what is written: it is tried again."""


class UnusableJournalError(Exception):
    """The file isn't a journal, is damaged, or is of another release."""


def open_to_write(directory: str, max_bytes: int) -> sqlite3.Connection:
    """The database in ``directory``, made if there is none. One that can't be used is set aside.

    Raises:
        OSError, sqlite3.Error: it can't be opened now, for instance because the disk is full.
    """
    os.makedirs(directory, mode=0o700, exist_ok=True)
    path = os.path.join(directory, FILE)
    try:
        return _opened(path, max_bytes)
    except UnusableJournalError as error:
        set_aside(directory, error)
        return _opened(path, max_bytes)


@contextlib.contextmanager
def reading(directory: str) -> Iterator[sqlite3.Connection]:
    """A connection that only reads. Raises sqlite3.Error."""
    path = os.path.join(os.path.abspath(directory), FILE)
    uri = f"file:{_quoted(path)}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS)) as connection:
        connection.execute("PRAGMA query_only = 1")
        yield connection


def set_aside(directory: str, why: Exception) -> None:
    """Rename the database, so that a new one can be begun. Only the last one is kept.

    Raises OSError.
    """
    path, aside = (os.path.join(directory, name) for name in (FILE, DAMAGED))
    _log.error("the journal can't be used (%s): it is now %s, and a new one begins", why, aside)
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.replace(path + suffix, aside + suffix)


def code_of(error: Exception) -> int:
    """The primary result code of SQLite; 0 for other errors."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def damage(found: str) -> sqlite3.DatabaseError:
    """The error for damage that SQLite found when it was asked to look for it."""
    error = sqlite3.DatabaseError(found)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def bytes_in_use(connection: sqlite3.Connection) -> int:
    """The size of all pages that hold something."""
    [pages] = connection.execute("PRAGMA page_count").fetchone()
    [free] = connection.execute("PRAGMA freelist_count").fetchone()
    return (int(pages) - int(free)) * _PAGE_BYTES


def _opened(path: str, max_bytes: int) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        _prepare(connection, max_bytes)
    except sqlite3.Error as error:
        connection.close()
        if code_of(error) in DAMAGE:
            raise UnusableJournalError(str(error)) from error
        raise
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, max_bytes: int) -> None:
    for setting in (
        f"page_size = {_PAGE_BYTES}",
        "auto_vacuum = INCREMENTAL",
        "journal_mode = WAL",
        "synchronous = NORMAL",
        f"journal_size_limit = {_WAL_BYTES}",
        f"max_page_count = {max(_MIN_PAGES, max_bytes // _PAGE_BYTES)}",
        "cache_size = -8192",
        "temp_store = MEMORY",
    ):
        connection.execute(f"PRAGMA {setting}").fetchall()
    [version] = connection.execute("PRAGMA user_version").fetchone()
    if version == VERSION:
        connection.execute("SELECT count(*) FROM counts").fetchone()
        return
    [tables] = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if version or tables:
        raise UnusableJournalError(f"its format is {version}, and this release has {VERSION}")
    connection.executescript(f"BEGIN;{TABLES}PRAGMA user_version = {VERSION};COMMIT;")


def _quoted(path: str) -> str:
    from urllib.parse import quote

    return quote(path)
