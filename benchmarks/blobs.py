"""Blobs to store, and the requests that speak of them."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Sequence

from reapi_local.proto import bytestream_pb2
from reapi_local.proto import remote_execution_pb2 as re_pb2

MIB = 1024 * 1024


def digest_of(data: bytes) -> re_pb2.Digest:
    return re_pb2.Digest(hash=hashlib.sha256(data).hexdigest(), size_bytes=len(data))


def random_blobs(count: int, size: int) -> list[bytes]:
    return [os.urandom(size) for _ in range(count)]


def update(blobs: Sequence[bytes]) -> re_pb2.BatchUpdateBlobsRequest:
    return re_pb2.BatchUpdateBlobsRequest(
        requests=[{"digest": digest_of(data), "data": data} for data in blobs]
    )


def read(digests: Sequence[re_pb2.Digest]) -> re_pb2.BatchReadBlobsRequest:
    return re_pb2.BatchReadBlobsRequest(digests=digests)


def find_missing(digests: Sequence[re_pb2.Digest]) -> re_pb2.FindMissingBlobsRequest:
    return re_pb2.FindMissingBlobsRequest(blob_digests=digests)


def read_stream(digest: re_pb2.Digest) -> bytes:
    """A serialized ByteStream.Read."""
    name = f"blobs/{digest.hash}/{digest.size_bytes}"
    return bytestream_pb2.ReadRequest(resource_name=name).SerializeToString()


def write_stream(data: bytes) -> list[bytes]:
    """The serialized messages of a ByteStream.Write, 1 MiB each, as Pants sends them."""
    digest = digest_of(data)
    name = f"uploads/{uuid.uuid4()}/blobs/{digest.hash}/{digest.size_bytes}"
    return [
        bytestream_pb2.WriteRequest(
            resource_name=name,
            write_offset=offset,
            data=data[offset : offset + MIB],
            finish_write=offset + MIB >= len(data),
        ).SerializeToString()
        for offset in range(0, len(data), MIB)
    ]
