"""Frames of HTTP/2, for what no gRPC client sends.

Source: RFC 9113; RFC 7541 for headers.
"""

from __future__ import annotations

import asyncio

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GO_AWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
ACK, END_STREAM, END_HEADERS = 1, 1, 4
CANCEL = (8).to_bytes(4, "big")


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    """A frame (RFC 9113, section 4.1)."""
    return (
        len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload
    )


def literal(name: bytes, value: bytes) -> bytes:
    """A header without indexing and without Huffman code (RFC 7541, section 6.2.2)."""
    assert max(len(name), len(value)) < 127
    return b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value


def call_headers(path: str, token: str = "") -> bytes:
    """The payload of the frame HEADERS with which a gRPC call begins; ``token``: "" = none."""
    headers = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": path.encode(),
        b":authority": b"localhost",
        b"te": b"trailers",
        b"content-type": b"application/grpc",
    }
    if token:
        headers[b"authorization"] = f"Bearer {token}".encode()
    return b"".join(literal(name, value) for name, value in headers.items())


def message(data: bytes) -> bytes:
    """The payload of the frame DATA with a gRPC message that isn't compressed."""
    return b"\0" + len(data).to_bytes(4, "big") + data


async def answer_to(port: int, data: bytes) -> bytes:
    """What comes back until the server hangs up, after a client has sent these bytes, and no more.

    It may hang up before it has read them all.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        writer.write(data)
        writer.write_eof()
        while part := await reader.read(2**16):
            answer += part
    except OSError:
        pass
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)  # which closes the socket
    return answer
