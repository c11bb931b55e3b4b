"""The ContentAddressableStorage service: blobs by digest."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from google.rpc import status_pb2

from reapi_local.context import Context
from reapi_local.errors import BlobNotFound, InvalidRequest, ReapiError, TooLarge
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, parse_digest, parse_digests
from reapi_local.protocol.tree import child_digests, parse_directory
from reapi_local.rpc.capabilities_service import MAX_BATCH_BYTES
from reapi_local.store.blob_store import BlobStore

_PAGE: Final = 1000
_PAGE_BYTES: Final = 2 * 1024 * 1024
_MAX_TOKEN_DIGITS: Final = 18


class CasService:
    """REAPI v2, service ContentAddressableStorage, without SplitBlob and SpliceBlob."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    async def FindMissingBlobs(
        self, request: re_pb2.FindMissingBlobsRequest, context: Context
    ) -> re_pb2.FindMissingBlobsResponse:
        """Which blobs the client must upload; the others stay readable for its invocation."""
        digests = parse_digests(request.blob_digests, request.digest_function)
        missing = await self._blobs.find_missing(context, digests)
        return re_pb2.FindMissingBlobsResponse(missing_blob_digests=map(_message, missing))

    async def BatchUpdateBlobs(
        self, request: re_pb2.BatchUpdateBlobsRequest, context: Context
    ) -> re_pb2.BatchUpdateBlobsResponse:
        """Upload several blobs; each has a status of its own."""
        contents = [item.data for item in request.requests]  # each access to ``data`` makes a copy
        _check_total(sum(map(len, contents)))
        response = re_pb2.BatchUpdateBlobsResponse()
        blobs: list[tuple[Digest, bytes]] = []
        for item, content in zip(request.requests, contents, strict=True):
            answer = response.responses.add(digest=item.digest)
            try:
                blobs.append((_uncompressed(item, request.digest_function), content))
            except InvalidRequest as error:
                answer.status.CopyFrom(_status(error))
        failures = await self._blobs.write_many(context, blobs)
        if failures:
            for answer in response.responses:
                if not answer.status.code:
                    digest = parse_digest(answer.digest, request.digest_function)
                    if digest in failures:
                        answer.status.CopyFrom(_status(failures[digest]))
        return response

    async def BatchReadBlobs(
        self, request: re_pb2.BatchReadBlobsRequest, context: Context
    ) -> re_pb2.BatchReadBlobsResponse:
        """Download several blobs; each has a status of its own."""
        digests = parse_digests(request.digests, request.digest_function)
        _check_total(sum(digest.size_bytes for digest in digests))
        found = await self._blobs.read_many(context, digests)
        response = re_pb2.BatchReadBlobsResponse()
        for message, digest in zip(request.digests, digests, strict=True):
            data = found.get(digest)
            if data is None:
                response.responses.add(digest=message, status=_status(BlobNotFound(digest)))
            else:
                response.responses.add(digest=message, data=data)
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
                page.next_page_token = str(position - 1)
                yield page
                page, page_bytes = re_pb2.GetTreeResponse(), 0
            page.directories.append(directory)
            page_bytes += length
        yield page

    async def _walk(self, context: Context, root: Digest) -> AsyncGenerator[re_pb2.Directory, None]:
        level, seen = [root], {root}
        while level:
            found = await self._blobs.read_many(context, level)
            if root in level and root not in found:
                raise BlobNotFound(root)
            below: list[Digest] = []
            for digest in level:
                if digest not in found:
                    continue
                try:
                    directory = parse_directory(found[digest])
                except InvalidRequest as error:
                    raise InvalidRequest(f"{digest} isn't a directory: {error}") from error
                yield directory
                for child in child_digests(directory, digest.function):
                    if child not in seen:
                        seen.add(child)
                        below.append(child)
            level = below


def _uncompressed(item: re_pb2.BatchUpdateBlobsRequest.Request, function_number: int) -> Digest:
    if item.compressor:
        raise InvalidRequest(
            f"blob {item.digest.hash}/{item.digest.size_bytes} is compressed; this server takes "
            "uncompressed data only, as its Capabilities say"
        )
    return parse_digest(item.digest, function_number)


def _check_total(total_bytes: int) -> None:
    if total_bytes > MAX_BATCH_BYTES:
        raise TooLarge(
            f"the batch has {total_bytes} bytes of content, but {MAX_BATCH_BYTES} are allowed "
            "(Capabilities, max_batch_total_size_bytes); send fewer blobs per call, or use "
            "ByteStream"
        )


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
