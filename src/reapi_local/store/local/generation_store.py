"""The blob store on disk: a list of generations, bounded by a limit, with leases.

A lookup and the lease that it gives are one step of the event loop. The removal of an evicted
generation is another, so it can't come between a lookup and its lease.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from typing import Final, cast

from reapi_contract.admin_api import StoreStatus
from reapi_local.clock import Clock
from reapi_local.context import Context
from reapi_local.errors import BlobNotFound, ReapiError, StorageFull
from reapi_local.events import BlobQuarantined, EventStream
from reapi_local.protocol.digest import EMPTY_BLOBS, Digest
from reapi_local.store.blob_store import Blob, BlobReader, BlobWriter
from reapi_local.store.local.capacity import Capacity
from reapi_local.store.local.generation import Generation
from reapi_local.store.local.generation_list import GenerationList
from reapi_local.store.local.index import Batch, Table
from reapi_local.store.local.large_files import is_large
from reapi_local.store.local.leases import Leases
from reapi_local.store.local.rotation import COMMIT_BYTES, StoreLimits, cost_bytes
from reapi_local.store.local.verified_files import VerifiedFiles
from reapi_local.store.reading import BytesReader, FileReader, check_range, read_to_end
from reapi_local.store.verification import check_size, is_intact, verify
from reapi_local.store.writing import FileWriter, MemoryWriter
from reapi_local.threads import in_slices, in_thread

_LOOKUPS_SLICE: Final = 4096
"""How many blobs are looked up before other calls have their turn."""


class GenerationStore:
    """A :class:`~reapi_local.store.blob_store.BlobStore` below the directory ``root``.

    ``durable``: acknowledged writes survive a crash. Without it, a crash costs each generation that
    was written to since it was opened. The parts are public for the action cache, which uses them.
    """

    def __init__(
        self, root: str, limits: StoreLimits, clock: Clock, events: EventStream, *, durable: bool
    ) -> None:
        self._limits, self._events = limits, events
        self.generations = GenerationList(root, limits, durable=durable)
        self.leases = Leases(clock, limits.lease_seconds)
        self.capacity = Capacity(self.generations, self.leases, limits, clock, events)
        self._verified = VerifiedFiles()

    def describe(self) -> StoreStatus:
        return StoreStatus(
            max_bytes=self._limits.max_bytes,
            disk_bytes=self.capacity.used_bytes,
            free_disk_bytes=self.capacity.free_bytes,
            generations=len(self.generations.newest_first),
            min_free_bytes=self._limits.min_free_bytes,
        )

    async def close(self) -> None:
        """End maintenance and close every file."""
        await self.capacity.close()
        self.generations.close()

    def digests_with(self, without_size: bytes) -> list[Digest]:
        """The blobs with this function and hash: one at most, because of one hash."""
        keys = self.generations.keys_with(without_size, Table.BLOBS, limit=1)
        return [Digest(key) for key in keys]

    async def find_missing(self, context: Context, digests: Sequence[Digest]) -> list[Digest]:
        if len(digests) <= _LOOKUPS_SLICE:
            return cast("list[Digest]", self._missing_and_lease(context, digests))
        missing: list[bytes] = []
        async for part in in_slices(digests, _LOOKUPS_SLICE):
            missing += self._missing_and_lease(context, part)
        return cast("list[Digest]", missing)  # the same objects that came in

    def _missing_and_lease(self, context: Context, digests: Sequence[bytes]) -> list[bytes]:
        missing = self._missing(digests)
        self.leases.add(
            context.invocation, set(digests).difference(missing) if missing else digests
        )
        return missing

    def _missing(self, digests: Sequence[bytes]) -> list[bytes]:
        return [key for key in self.generations.missing(digests) if key not in EMPTY_BLOBS]

    async def read_many(
        self, context: Context, digests: Sequence[Digest]
    ) -> Mapping[Digest, bytes]:
        found: dict[Digest, bytes] = {}
        async for part in in_slices(digests):
            found.update(self._read_small_at_once(context, part))
            for digest in self._present([digest for digest in part if digest not in found]):
                try:
                    async with self.open_read(context, digest) as reader:
                        found[digest] = await read_to_end(reader)
                except BlobNotFound:
                    continue
        return found

    def _present(self, digests: Sequence[Digest]) -> list[Digest]:
        absent = set(self._missing(digests)) if digests else ()
        return [digest for digest in digests if digest not in absent]

    def _read_small_at_once(
        self, context: Context, digests: Sequence[Digest]
    ) -> dict[Digest, bytes]:
        """The small blobs, read in one step of the event loop.

        Blobs that are large, corrupt or missing are left out: :meth:`open_read` handles them.
        """
        found: dict[Digest, bytes] = {}
        wanted = [digest for digest in digests if not is_large(digest)]
        for generation in self.generations.newest_first:
            values = generation.index.get_many(Table.BLOBS, wanted)
            found.update(
                (digest, values[digest])
                for digest in wanted
                if digest in values and is_intact(digest, values[digest])
            )
            if len(found) >= len(wanted):
                break
        self.leases.add(context.invocation, found)
        return found

    @asynccontextmanager
    async def open_read(
        self, context: Context, digest: Digest, offset: int = 0, limit: int = 0
    ) -> AsyncIterator[BlobReader]:
        length = check_range(digest, offset, limit)
        if not is_large(digest):
            data = await self._read_small(context, digest)
            yield BytesReader(data[offset : offset + length])
            return
        reader = FileReader(await self._open_large(context, digest), offset, length)
        try:
            yield reader
        finally:
            reader.close()

    async def _read_small(self, context: Context, digest: Digest) -> bytes:
        if digest in EMPTY_BLOBS:
            return b""
        while generation := self.generations.find(digest):
            self.leases.add(context.invocation, (digest,))
            data = generation.index.get(Table.BLOBS, digest) or b""
            if is_intact(digest, data):
                return data
            await self._quarantine(generation, digest)
        raise self._not_found(context, digest)

    async def _open_large(self, context: Context, digest: Digest) -> int:
        while generation := self.generations.find(digest):
            self.leases.add(context.invocation, (digest,))
            try:
                fd = os.open(generation.files.path(digest), os.O_RDONLY)
            except FileNotFoundError:
                await self._quarantine(generation, digest)
                continue
            with ExitStack() as unless_intact:
                unless_intact.callback(os.close, fd)
                if await self._verified.is_intact(digest, fd):
                    unless_intact.pop_all()
                    return fd
                # Meanwhile the generation may be evicted, or the file replaced by a good copy.
                if generation in self.generations.newest_first and generation.files.is_at(
                    digest, fd
                ):
                    path = generation.files.path(digest)
                    os.replace(
                        path, os.path.join(self.generations.quarantine, os.path.basename(path))
                    )
                    await self._quarantine(generation, digest)
        raise self._not_found(context, digest)

    async def _quarantine(self, generation: Generation, digest: Digest) -> None:
        """Remove a corrupt blob from the index."""
        self._events.emit(BlobQuarantined(digest, generation.path))
        await self.generations.commit(generation, Batch(deletes=[(Table.BLOBS, digest)]))

    def _not_found(self, context: Context, digest: Digest) -> BlobNotFound:
        self.leases.add(context.invocation, ())
        return BlobNotFound(digest)

    async def write_many(
        self, context: Context, blobs: Sequence[Blob]
    ) -> Mapping[Digest, ReapiError]:
        failures: dict[Digest, ReapiError] = {}
        async for part in in_slices(blobs):
            failures.update(await self._write_part(context, part))
        return failures

    async def _write_part(
        self, context: Context, blobs: Sequence[Blob]
    ) -> Mapping[Digest, ReapiError]:
        failures: dict[Digest, ReapiError] = {}
        small: list[Blob] = []
        for digest, data in blobs:
            try:
                if is_large(digest):
                    check_size(digest, len(data))  # before room is made for it
                    await self._write_large(context, digest, data)
                else:
                    await verify(digest, data)
                    small.append((digest, data))
            except ReapiError as error:
                failures[digest] = error
        try:
            await self._write_small(context, small)
        except StorageFull as error:
            failures.update((digest, error) for digest, _ in small)
        return failures

    async def _write_small(self, context: Context, blobs: Sequence[Blob]) -> None:
        digests = [digest for digest, _ in blobs]
        # Leased before they are stored: no eviction can come between the commit and the lease.
        self.leases.add(context.invocation, digests)
        absent = set(self._missing(digests))
        new: list[tuple[Table, bytes, bytes]] = [
            (Table.BLOBS, digest, data) for digest, data in blobs if digest in absent
        ]
        if new:
            needed = COMMIT_BYTES + sum(cost_bytes(len(data)) for _, _, data in new)
            async with self.capacity.reserved(needed):
                await self.generations.commit(self.generations.newest, Batch(put_if_absent=new))

    async def _write_large(self, context: Context, digest: Digest, data: bytes) -> None:
        writer = await self.open_write(context, digest)
        try:
            await writer.write(data)
            await writer.commit()
        finally:
            await writer.discard()

    async def open_write(self, context: Context, digest: Digest) -> BlobWriter:
        if not is_large(digest):
            return MemoryWriter(digest, partial(self._receive_bytes, context, digest))
        needed = digest.size_bytes + COMMIT_BYTES
        await self.capacity.reserve(needed)
        release = partial(self.capacity.release, needed)
        try:
            return FileWriter(
                digest,
                self.generations.incoming,
                receive=partial(self._receive_file, context, digest),
                release=release,
                durable=self.generations.durable,
            )
        except BaseException:
            release()
            raise

    async def _receive_bytes(self, context: Context, digest: Digest, data: bytes) -> None:
        await self._write_small(context, [(digest, data)])

    async def _receive_file(self, context: Context, digest: Digest, fd: int, path: str) -> None:
        self.leases.add(context.invocation, (digest,))
        if not self._missing((digest,)):
            return
        self._verified.remember(digest, fd)
        generation = self.generations.newest
        with generation.writing():
            taken = await in_thread(
                generation.files.publish, path, digest, durable=self.generations.durable
            )
            await self.generations.commit(generation, Batch(large=[(digest, taken)]))
