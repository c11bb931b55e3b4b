"""The ContentAddressableStorage service: blobs by digest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Final, TypeAlias

from google.rpc import status_pb2

from reapi_local.context import Context
from reapi_local.errors import BlobNotFound, DigestMismatch, InvalidRequest, ReapiError
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, parse_digest, parse_digests
from reapi_local.protocol.tree import child_digests, parse_directory
from reapi_local.rpc import batch_limits
from reapi_local.rpc.in_flight import InFlight
from reapi_local.store.blob_store import Blob, BlobStore
from reapi_local.store.compressed import compress_where_smaller, decompress_all
from reapi_local.threads import (
    DIRECTORIES_SLICE,
    LONG_BYTES,
    SLICE,
    WRITES_SLICE,
    in_slices,
    in_thread_if_long,
)

_PAGE: Final = 1000
_PAGE_BYTES: Final = 2 * 1024 * 1024
_MAX_TOKEN_DIGITS: Final = 18
_ZSTD: Final = re_pb2.Compressor.ZSTD
_READS_AT_ONCE: Final = 16
"""More batches with much content wait, so that small calls have their turn in between."""
_OK: Final = status_pb2.Status()
"""Every item has a status, also one that succeeded: some clients take its absence for an error."""

_Updated: TypeAlias = re_pb2.BatchUpdateBlobsResponse.Response


class CasService:
    """REAPI v2, service ContentAddressableStorage, without SplitBlob and SpliceBlob."""

    def __init__(self, blobs: BlobStore, in_flight: InFlight) -> None:
        self._blobs, self._in_flight = blobs, in_flight
        self._reading = asyncio.Semaphore(_READS_AT_ONCE)

    async def FindMissingBlobs(
        self, request: re_pb2.FindMissingBlobsRequest, context: Context
    ) -> re_pb2.FindMissingBlobsResponse:
        """Which blobs the client must upload; the others stay readable for its invocation."""
        digests = await _parsed(request.blob_digests, request.digest_function)
        missing = await self._blobs.find_missing(context, digests)
        if len(missing) <= SLICE:
            return re_pb2.FindMissingBlobsResponse(missing_blob_digests=map(_message, missing))
        response = re_pb2.FindMissingBlobsResponse()
        async for part in in_slices(missing):
            response.missing_blob_digests.extend(map(_message, part))
        return response

    async def BatchUpdateBlobs(
        self, request: re_pb2.BatchUpdateBlobsRequest, context: Context
    ) -> re_pb2.BatchUpdateBlobsResponse:
        """Upload several blobs; each has a status of its own, also if one digest comes twice."""
        response = re_pb2.BatchUpdateBlobsResponse()
        answers: dict[Digest, _Updated] = {}
        blobs: list[Blob] = []
        repeated: list[tuple[_Updated, Blob]] = []
        compressed: list[tuple[_Updated, Blob]] = []
        content_bytes = 0
        async for part in in_slices(request.requests):
            for item in part:
                answer = response.responses.add(digest=item.digest)
                answer.status.SetInParent()  # there, though it is empty
                data = item.data  # each access makes a copy
                content_bytes += len(data)
                try:
                    digest = parse_digest(item.digest, request.digest_function)
                    is_compressed = _is_compressed(item)
                except InvalidRequest as error:
                    answer.status.CopyFrom(_status(error))
                    continue
                if is_compressed:
                    compressed.append((answer, (digest, data)))
                    content_bytes += max(0, digest.size_bytes - len(data))
                elif digest in answers:
                    repeated.append((answer, (digest, data)))
                else:
                    answers[digest] = answer
                    blobs.append((digest, data))
            batch_limits.check_content(content_bytes)
        others = [digest for _, (digest, _) in (*repeated, *compressed)]
        batch_limits.check_answer([*answers, *others])
        for answer, (digest, data) in await _decompressed(compressed):
            if digest in answers:
                repeated.append((answer, (digest, data)))
            else:
                answers[digest] = answer
                blobs.append((digest, data))
        failures = await self._blobs.write_many(context, blobs)
        async for failed in in_slices(list(failures.items())):
            for digest, failure in failed:
                answers[digest].status.CopyFrom(_status(failure))
        await self._write_repeated(context, repeated)
        if failures or len(blobs) < len(response.responses):
            await batch_limits.shorten_messages(response)
        return response

    async def _write_repeated(
        self, context: Context, repeated: Sequence[tuple[_Updated, Blob]]
    ) -> None:
        """Write blobs whose digests came before in the batch, maybe with other content."""
        async for part in in_slices(repeated, WRITES_SLICE):
            for answer, blob in part:
                failures = await self._blobs.write_many(context, [blob])
                for error in failures.values():
                    answer.status.CopyFrom(_status(error))

    async def BatchReadBlobs(
        self, request: re_pb2.BatchReadBlobsRequest, context: Context
    ) -> re_pb2.BatchReadBlobsResponse:
        """Download several blobs; each has a status of its own."""
        digests = await _parsed(request.digests, request.digest_function)
        content_bytes = 0
        async for some in in_slices(digests):
            content_bytes += sum(digest.size_bytes for digest in some)
        batch_limits.check_content(content_bytes)
        batch_limits.check_answer(digests, content_bytes)
        if content_bytes <= LONG_BYTES:
            return await self._read(request, digests, context)
        async with self._reading:
            self._in_flight.check(content_bytes)
            return await self._read(request, digests, context)

    async def _read(
        self, request: re_pb2.BatchReadBlobsRequest, digests: Sequence[Digest], context: Context
    ) -> re_pb2.BatchReadBlobsResponse:
        found = await self._blobs.read_many(context, digests)
        accepts_zstd = _ZSTD in request.acceptable_compressors
        compressed = await compress_where_smaller(found) if accepts_zstd else {}
        response = re_pb2.BatchReadBlobsResponse()
        messages = iter(request.digests)
        async for part in in_slices(digests):
            for digest, message in zip(part, messages, strict=False):
                data = found.get(digest)
                if data is None:
                    response.responses.add(digest=message, status=_status(BlobNotFound(digest)))
                elif digest in compressed:
                    response.responses.add(
                        digest=message,
                        data=compressed[digest],
                        compressor=_ZSTD,
                        status=_OK,
                    )
                else:
                    # The status is there, though it is empty; this is faster than to give it.
                    response.responses.add(digest=message, data=data).status.SetInParent()
        if len(found) < len(digests):
            await batch_limits.shorten_messages(response)
        return response

    async def GetTree(
        self, request: re_pb2.GetTreeRequest, context: Context
    ) -> AsyncGenerator[re_pb2.GetTreeResponse, None]:
        """All Directories below a root, each once, breadth first, in pages.

        A page token is the number of Directories on earlier pages. Missing ones are left out.
        """
        root = parse_digest(request.root_digest, request.digest_function)
        skip = _page_start(request.page_token)
        if request.page_size < 0:
            raise InvalidRequest(f"page_size can't be {request.page_size}")
        size = min(request.page_size or _PAGE, _PAGE)
        page, page_bytes = re_pb2.GetTreeResponse(), 0
        position = 0
        async for directory in self._walk(context, root):
            position += 1
            if position <= skip:
                continue
            length = directory.ByteSize()
            is_full = len(page.directories) == size or page_bytes + length > _PAGE_BYTES
            if page.directories and is_full:
                self._in_flight.check(page_bytes)
                page.next_page_token = str(position - 1)
                yield page
                page, page_bytes = re_pb2.GetTreeResponse(), 0
            page.directories.append(directory)
            page_bytes += length
        yield page

    async def _walk(self, context: Context, root: Digest) -> AsyncGenerator[re_pb2.Directory, None]:
        level, seen = [root], {root}
        while level:
            below: list[Digest] = []
            async for part in in_slices(level, DIRECTORIES_SLICE):
                found = await self._blobs.read_many(context, part)
                if part[0] == root and root not in found:
                    raise BlobNotFound(root)
                for digest in part:
                    if digest not in found:
                        continue
                    data = found[digest]
                    directory, children = await in_thread_if_long(
                        len(data), _directory, digest, data
                    )
                    yield directory
                    fresh = [child for child in children if child not in seen]
                    seen.update(fresh)
                    below += fresh
            level = below


def _directory(digest: Digest, data: bytes) -> tuple[re_pb2.Directory, list[Digest]]:
    """A Directory and the digests of its sub-directories, each once."""
    try:
        directory = parse_directory(data)
    except InvalidRequest as error:
        raise InvalidRequest(f"{digest} isn't a directory: {error}") from error
    return directory, list(dict.fromkeys(child_digests(directory, digest.function)))


async def _parsed(messages: Sequence[re_pb2.Digest], function_number: int) -> list[Digest]:
    if len(messages) <= SLICE:
        return parse_digests(messages, function_number)
    digests: list[Digest] = []
    async for part in in_slices(messages):
        digests += parse_digests(part, function_number)
    return digests


def _is_compressed(item: re_pb2.BatchUpdateBlobsRequest.Request) -> bool:
    compressor = item.compressor
    if compressor and compressor != _ZSTD:
        raise InvalidRequest(
            f"blob {item.digest.hash}/{item.digest.size_bytes} has compressor {compressor}; this "
            "server takes IDENTITY and ZSTD, as its Capabilities say"
        )
    return compressor == _ZSTD


async def _decompressed(compressed: Sequence[tuple[_Updated, Blob]]) -> list[tuple[_Updated, Blob]]:
    """The blobs with their content; the others have an error in their answers now."""
    if not compressed:
        return []
    whole: list[tuple[_Updated, Blob]] = []
    contents = await decompress_all([blob for _, blob in compressed])
    for (answer, (digest, _)), content in zip(compressed, contents, strict=True):
        if isinstance(content, DigestMismatch):
            answer.status.CopyFrom(_status(content))
        else:
            whole.append((answer, (digest, content)))
    return whole


def _page_start(token: str) -> int:
    if not token:
        return 0
    if not (token.isascii() and token.isdigit()) or len(token) > _MAX_TOKEN_DIGITS:
        raise InvalidRequest(f"page_token {token[:100]!r} doesn't come from this server")
    return int(token)


def _message(digest: Digest) -> re_pb2.Digest:
    return re_pb2.Digest(hash=digest.hash_hex, size_bytes=digest.size_bytes)


def _status(error: ReapiError) -> status_pb2.Status:
    return status_pb2.Status(code=int(error.code), message=str(error))
