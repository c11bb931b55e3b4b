"""One LMDB environment: the small blobs, action results and counters of one generation.

This is the only module that imports lmdb. Each read ends within its call and returns copies, never
views: closing an environment while a view is in use would crash the process.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum

import lmdb

from reapi_local.errors import StorageFull
from reapi_local.store.disk_errors import disk_errors

_LARGE_BYTES = b"large_bytes"
_LOCK_FILE_BYTES = 8192


class Table(Enum):
    """The sub-databases. In BLOBS a large blob's value is empty: its content is a file."""

    BLOBS = b"blobs"
    RESULTS = b"results"
    META = b"meta"


@dataclass
class Batch:
    """Changes that become visible, and durable, together.

    ``large``: blobs whose files are in place, each with its bytes on disk; a blob that is already
    indexed isn't counted again. ``copied``: results, each with the index that it is copied from; a
    result that was replaced or removed there meanwhile is not copied. ``deletes_if``: keys to
    delete if they still have the given value. ``deleted``: how many of those the write deleted.
    """

    puts: list[tuple[Table, bytes, bytes]] = field(default_factory=list)
    put_if_absent: list[tuple[Table, bytes, bytes]] = field(default_factory=list)
    large: list[tuple[bytes, int]] = field(default_factory=list)
    copied: list[tuple[bytes, bytes, Index]] = field(default_factory=list)
    deletes: list[tuple[Table, bytes]] = field(default_factory=list)
    deletes_if: list[tuple[Table, bytes, bytes]] = field(default_factory=list)
    deleted: int = 0


class Index:
    """An open environment in the directory ``path``.

    ``map_bytes`` is address space, not disk: it must exceed what will ever be written.
    ``durable`` = every commit reaches the disk before :meth:`write` returns.
    """

    def __init__(self, path: str, map_bytes: int, *, durable: bool) -> None:
        _fill_lock_file(path)
        with _disk_errors():
            self._env = lmdb.open(
                path,
                map_size=map_bytes,
                max_dbs=len(Table),
                sync=durable,
                metasync=durable,
                readahead=False,
                mode=0o600,
            )
            self._dbs = {table: self._env.open_db(table.value) for table in Table}
        self._page_bytes: int = self._env.stat()["psize"]
        self.disk_bytes = 0
        self.large_bytes = 0
        self._measure_pages()
        self._measure_large()

    def missing(self, table: Table, keys: Sequence[bytes]) -> list[bytes]:
        """The keys that aren't in the table, in the order given."""
        with self._env.begin(db=self._dbs[table], buffers=True) as txn, txn.cursor() as cursor:
            seek = cursor.set_key
            return [key for key in keys if not seek(key)]

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The value, or None."""
        with self._env.begin(db=self._dbs[table]) as txn:
            value: bytes | None = txn.get(key)
            return value

    def get_many(self, table: Table, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """The values of the keys that are in the table."""
        with self._env.begin(db=self._dbs[table]) as txn:
            get = txn.get
            found = ((key, get(key)) for key in keys)
            return {key: value for key, value in found if value is not None}

    def keys_with(self, table: Table, beginning: bytes, limit: int) -> list[bytes]:
        """The first keys that begin so, in byte order, at most ``limit``."""
        found: list[bytes] = []
        with self._env.begin(db=self._dbs[table]) as txn, txn.cursor() as cursor:
            if not cursor.set_range(beginning):
                return found
            for key in cursor.iternext(keys=True, values=False):
                if len(found) == limit or not key.startswith(beginning):
                    break
                found.append(key)
        return found

    def keys(self, table: Table) -> list[bytes]:
        """Every key, in byte order. Only for tests: it reads the whole table."""
        with self._env.begin(db=self._dbs[table]) as txn, txn.cursor() as cursor:
            return list(cursor.iternext(keys=True, values=False))

    def write(self, batches: Sequence[Batch]) -> None:
        """Apply all batches in one transaction. One thread at a time.

        Raises:
            StorageFull: the disk or the environment has no space; nothing was written.
        """
        with _disk_errors(), self._env.begin(write=True) as txn:
            for batch in batches:
                self._apply(txn, batch)
        self._measure_pages()
        if any(batch.large for batch in batches):
            self._measure_large()

    def _apply(self, txn: lmdb.Transaction, batch: Batch) -> None:
        for table, key, value in batch.puts:
            txn.put(key, value, db=self._dbs[table])
        for table, key, value in batch.put_if_absent:
            txn.put(key, value, db=self._dbs[table], overwrite=False)
        for key, value, source in batch.copied:
            if source.get(Table.RESULTS, key) == value:
                txn.put(key, value, db=self._dbs[Table.RESULTS], overwrite=False)
        for table, key in batch.deletes:
            txn.delete(key, db=self._dbs[table])
        batch.deleted = 0  # a group that failed is written again, one by one
        for table, key, value in batch.deletes_if:
            if txn.get(key, db=self._dbs[table]) == value:
                batch.deleted += txn.delete(key, db=self._dbs[table])
        added = sum(
            disk_bytes
            for key, disk_bytes in batch.large
            if txn.put(key, b"", db=self._dbs[Table.BLOBS], overwrite=False)
        )
        if added:
            meta = self._dbs[Table.META]
            known = int(txn.get(_LARGE_BYTES, b"0", db=meta))
            txn.put(_LARGE_BYTES, b"%d" % (known + added), db=meta)

    def _measure_pages(self) -> None:
        pages: int = self._env.info()["last_pgno"] + 1
        self.disk_bytes = pages * self._page_bytes + _LOCK_FILE_BYTES

    def _measure_large(self) -> None:
        self.large_bytes = int(self.get(Table.META, _LARGE_BYTES) or 0)

    def sync(self) -> None:
        """Write to the disk what earlier commits left in the page cache."""
        self._env.sync(True)

    def close(self) -> None:
        self._env.close()


# LMDB reports a short write as an input/output error.
_NO_ROOM = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO))


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except lmdb.MapFullError as error:
        raise StorageFull("the index of a generation is full; try again") from error
    except lmdb.Error as error:
        if not any(reason in str(error) for reason in _NO_ROOM):
            raise
        raise StorageFull(f"the disk refused a write: {error}; free some space") from error


def _fill_lock_file(path: str) -> None:
    """Allocate LMDB's lock file: it is mapped, so a full disk would crash the process later."""
    with disk_errors():
        fd = os.open(os.path.join(path, "lock.mdb"), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.write(fd, bytes(_LOCK_FILE_BYTES))
        finally:
            os.close(fd)
