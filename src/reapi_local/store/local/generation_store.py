"""The blob store on disk: a list of generations, bounded by a limit, with leases.

All look-ups, and the leases they give, happen on the event loop within one step. So does the
removal of a evicted generation: between a look-up and its promise nothing can come.
"""

from __future__ import annotations

import logging
import os
from asyncio import sleep
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from typing import Final

from reapi_local.clock import Clock, SystemClock
from reapi_local.errors import BlobNotFound, ReapiError, StorageFull
from reapi_local.protocol.digest import EMPTY_BLOBS, Digest, digest_of
from reapi_local.store.local.capacity import Capacity
from reapi_local.store.local.generation import Generation
from reapi_local.store.local.generation_list import GenerationList
from reapi_local.store.local.index import Batch, Table
from reapi_local.store.local.large_files import is_large
from reapi_local.store.local.leases import Leases
from reapi_local.store.local.rotation import COMMIT_BYTES, StoreLimits, cost_bytes
from reapi_local.store.local.verified_files import VerifiedFiles
from reapi_local.store.reading import BytesReader, FileReader, check_range, read_to_end
from reapi_local.store.types import Blob, BlobReader, BlobWriter
from reapi_local.store.writing import FileWriter, MemoryWriter, verify
from reapi_local.threads import in_thread

_log = logging.getLogger(__name__)
_BATCH_SIZE: Final = 4096


class GenerationStore:
    """A :class:`~reapi_local.store.types.BlobStore` below the directory ``root``.

    ``durable`` = what was acknowledged survives a power loss; without, the generation in use is
    dropped after one. The parts it is made of are public for the action cache that shares them.
    """

    def __init__(
        self, root: str, limits: StoreLimits, clock: Clock | None = None, *, durable: bool = True
    ) -> None:
        clock = clock or SystemClock()
        self.generations = GenerationList(root, limits, durable=durable)
        self.leases = Leases(clock, limits.lease_seconds)
        self.capacity = Capacity(self.generations, self.leases, limits, clock)
        self._verified = VerifiedFiles()

    async def close(self) -> None:
        """End maintenance and close every file."""
        await self.capacity.close()
        self.generations.close()

    async def find_missing(self, digests: Sequence[Digest], run: str = "") -> list[Digest]:
        missing: list[bytes] = []
        for start in range(0, len(digests), _BATCH_SIZE):
            if start:
                await sleep(0)  # others get their turn within a huge request
            missing += self._missing_and_lease(digests[start : start + _BATCH_SIZE], run)
        return [Digest(key) for key in missing]

    def _missing_and_lease(self, digests: Sequence[bytes], run: str) -> list[bytes]:
        missing = [key for key in self.generations.missing(digests) if key not in EMPTY_BLOBS]
        self.leases.add(run, set(digests).difference(missing) if missing else digests)
        return missing

    async def read_many(self, digests: Sequence[Digest], run: str = "") -> Mapping[Digest, bytes]:
        found = self._read_small_at_once(digests, run)
        for digest in digests:
            if digest in found:
                continue
            try:
                async with self.open_read(digest, run) as reader:
                    found[digest] = await read_to_end(reader)
            except BlobNotFound:
                continue
        return found

    def _read_small_at_once(self, digests: Sequence[Digest], run: str) -> dict[Digest, bytes]:
        """The small blobs that can be read within one step; what is large, damaged or not held is
        left to the careful way.
        """
        found: dict[Digest, bytes] = {}
        wanted = [digest for digest in digests if not is_large(digest)]
        for generation in self.generations.newest_first:
            values = generation.index.get_many(Table.BLOBS, wanted)
            found.update(
                (digest, values[digest])
                for digest in wanted
                if digest in values and digest_of(values[digest], digest.function) == digest
            )
            if len(found) >= len(wanted):
                break
        self.leases.add(run, found)
        return found

    @asynccontextmanager
    async def open_read(
        self, digest: Digest, run: str = "", offset: int = 0, limit: int = 0
    ) -> AsyncIterator[BlobReader]:
        length = check_range(digest, offset, limit)
        if not is_large(digest):
            data = await self._read_small(digest, run)
            yield BytesReader(data[offset : offset + length])
            return
        reader = FileReader(await self._open_large(digest, run), offset, length)
        try:
            yield reader
        finally:
            reader.close()

    async def _read_small(self, digest: Digest, run: str) -> bytes:
        if digest in EMPTY_BLOBS:
            return b""
        while generation := self.generations.find(digest):
            self.leases.add(run, (digest,))
            data = generation.index.get(Table.BLOBS, digest) or b""
            if digest_of(data, digest.function) == digest:
                return data
            await self._quarantine(generation, digest)
        raise self._not_found(digest, run)

    async def _open_large(self, digest: Digest, run: str) -> int:
        while generation := self.generations.find(digest):
            self.leases.add(run, (digest,))
            try:
                fd = os.open(generation.files.path(digest), os.O_RDONLY)
            except FileNotFoundError:
                await self._quarantine(generation, digest)
                continue
            with ExitStack() as unless_sound:
                unless_sound.callback(os.close, fd)
                if await self._verified.is_sound(digest, fd):
                    unless_sound.pop_all()
                    return fd
                # While it was read its generation may have gone, or a good copy come.
                if generation in self.generations.newest_first and generation.files.is_at(
                    digest, fd
                ):
                    path = generation.files.path(digest)
                    os.replace(path, os.path.join(self.generations.damaged, os.path.basename(path)))
                    await self._quarantine(generation, digest)
        raise self._not_found(digest, run)

    async def _quarantine(self, generation: Generation, digest: Digest) -> None:
        """Take a damaged blob out of the look-up path."""
        _log.error("blob %s is damaged in %s: set aside", digest, generation.path)
        await self.generations.commit(generation, Batch(deletes=[(Table.BLOBS, digest)]))

    def _not_found(self, digest: Digest, run: str) -> BlobNotFound:
        self.leases.add(run, ())
        return BlobNotFound(
            f"blob {digest} isn't in the store: never uploaded, or evicted; upload it"
        )

    async def write_many(self, blobs: Sequence[Blob], run: str = "") -> Mapping[Digest, ReapiError]:
        failures: dict[Digest, ReapiError] = {}
        small: list[Blob] = []
        for digest, data in blobs:
            try:
                if is_large(digest):
                    await self._write_large(digest, data, run)
                else:
                    await verify(digest, data)
                    small.append((digest, data))
            except ReapiError as error:
                failures[digest] = error
        try:
            await self._write_small(small, run)
        except StorageFull as error:
            failures.update((digest, error) for digest, _ in small)
        return failures

    async def _write_small(self, blobs: Sequence[Blob], run: str) -> None:
        digests = [digest for digest, _ in blobs]
        # Leased before they are there: no rotation can come between the commit and the lease.
        self.leases.add(run, digests)
        absent = set(self._missing_and_lease(digests, run))
        new: list[tuple[Table, bytes, bytes]] = [
            (Table.BLOBS, digest, data) for digest, data in blobs if digest in absent
        ]
        if new:
            needed = COMMIT_BYTES + sum(cost_bytes(len(data)) for _, _, data in new)
            async with self.capacity.reserved(needed):
                await self.generations.commit(self.generations.newest, Batch(put_if_absent=new))

    async def _write_large(self, digest: Digest, data: bytes, run: str) -> None:
        writer = await self.open_write(digest, run)
        try:
            await writer.write(data)
            await writer.commit()
        finally:
            await writer.discard()

    async def open_write(self, digest: Digest, run: str = "") -> BlobWriter:
        if not is_large(digest):
            return MemoryWriter(digest, partial(self._receive_bytes, digest, run))
        needed = digest.size_bytes + COMMIT_BYTES
        await self.capacity.reserve(needed)
        release = partial(self.capacity.release, needed)
        try:
            return FileWriter(
                digest,
                self.generations.incoming,
                receive=partial(self._receive_file, digest, run),
                release=release,
                durable=self.generations.durable,
            )
        except BaseException:
            release()
            raise

    async def _receive_bytes(self, digest: Digest, run: str, data: bytes) -> None:
        await verify(digest, data)
        await self._write_small([(digest, data)], run)

    async def _receive_file(self, digest: Digest, run: str, fd: int, path: str) -> None:
        self.leases.add(run, (digest,))
        if not self._missing_and_lease((digest,), run):
            return
        self._verified.remember(digest, fd)
        generation = self.generations.newest
        with generation.writing():
            taken = await in_thread(
                generation.files.publish, path, digest, durable=self.generations.durable
            )
            await self.generations.commit(generation, Batch(large=[(digest, taken)]))
