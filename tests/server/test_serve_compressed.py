"""A server takes little memory for a large blob that travels compressed."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import grpc
import pytest
import zstandard

from reapi_local.proto.bytestream_pb2 import ReadRequest, ReadResponse, WriteRequest, WriteResponse
from server.process import Process, state_of

MIB = 1024 * 1024
SIZE = 256 * MIB


def peak_bytes(pid: int) -> int:
    """The most memory that the process has had so far."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    assert found
    return 1024 * int(found[1])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_neither_an_upload_nor_a_download_holds_the_whole_blob(tmp_path: Path) -> None:
    data = tmp_path / "data"
    hasher = hashlib.sha256()
    stream = zstandard.ZstdCompressor(level=1).compressobj()
    form = b""
    for _ in range(SIZE // MIB):
        hasher.update(bytes(MIB))
        form += stream.compress(bytes(MIB))
    form += stream.flush()
    assert len(form) < MIB  # it fits into one message
    blob = f"compressed-blobs/zstd/{hasher.hexdigest()}/{SIZE}"
    arguments = ("--data-dir", str(data), "--execution", "off", "--sync", "relaxed")
    with Process(*arguments) as process:
        port = process.serving()["grpc_port"]
        headers = (("authorization", f"Bearer {state_of(data)['token']}"),)
        with grpc.insecure_channel(
            f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]
        ) as channel:
            write = channel.stream_unary(
                "/google.bytestream.ByteStream/Write",
                request_serializer=WriteRequest.SerializeToString,
                response_deserializer=WriteResponse.FromString,
            )
            read = channel.unary_stream(
                "/google.bytestream.ByteStream/Read",
                request_serializer=ReadRequest.SerializeToString,
                response_deserializer=ReadResponse.FromString,
            )
            before = peak_bytes(process.popen.pid)
            upload = WriteRequest(resource_name=f"uploads/u/{blob}", data=form, finish_write=True)
            assert write(iter([upload]), metadata=headers).committed_size == len(form)
            decompressor = zstandard.ZstdDecompressor().decompressobj()
            received = 0
            for message in read(ReadRequest(resource_name=blob), metadata=headers):
                received += len(decompressor.decompress(message.data))
            assert received == SIZE
            assert decompressor.eof
            assert peak_bytes(process.popen.pid) - before < SIZE // 4
