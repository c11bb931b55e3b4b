"""Bytes for a port of HTTP, near enough to right ones to be read for a while."""

from __future__ import annotations

from random import Random

from fuzz.hostile import INTEGERS, mangled
from fuzz.scenarios import Call, scenario
from rpc.frames import (
    ACK,
    CANCEL,
    DATA,
    END_HEADERS,
    END_STREAM,
    GO_AWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    call_headers,
    frame,
    literal,
    message,
)
from rpc.helpers import METHODS

_KINDS = (*range(11), 255)
_STREAMS = (0, 1, 2, 3, 5, 2**31 - 1, 2**31)
_PATHS = ("/", "*", "", "/x", "/x/y", "//", "/" + "x" * 110, "/grpc.health.v1.Health/Check", "\0")
_HEADERS = (
    *((b"grpc-timeout", b"99999999H"), (b"grpc-timeout", b"0n"), (b"grpc-timeout", b"-1S")),
    *((b"grpc-timeout", b"\xff"), (b"grpc-encoding", b"gzip"), (b"grpc-encoding", b"x")),
    *((b"te", b"x"), (b"content-type", b"text/html"), (b"content-length", b"9"), (b":path", b"/")),
    *((b":method", b"GET"), (b"authorization", b"Bearer \xff"), (b"X-Upper", b"1"), (b"", b"")),
    *((b"x-bin", b"!!!"), (b"connection", b"close"), (b"host", b"\0"), (b"x" * 100, b"y" * 100)),
)


def http2_bytes(random: Random, token: str) -> bytes:
    """What a client of gRPC could send on a connection, with faults."""
    sent = [PREFACE, frame(SETTINGS)]
    for stream in range(1, 2 * random.randrange(1, 6), 2):
        sent += _call(random, stream, token)
    for _ in range(random.choice((0, 0, 1, 3))):
        sent.insert(random.randrange(len(sent) + 1), _odd_frame(random))
    if random.random() < 0.1:
        random.shuffle(sent)
    data = b"".join(sent)
    return mangled(random, data) if random.random() < 0.3 else data


def _call(random: Random, stream: int, token: str) -> list[bytes]:
    call: Call = random.choice(scenario(random))
    method = METHODS[call.method]
    path = f"/{method.containing_service.full_name}/{method.name}"
    headers = call_headers(random.choice((path, path, *_PATHS)), token)
    if random.random() < 0.4:
        headers += literal(*random.choice(_HEADERS))
    if random.random() < 0.1:
        headers = mangled(random, headers)
    flags = random.choice((END_HEADERS, END_HEADERS, END_HEADERS, 0, END_HEADERS | END_STREAM))
    sent = [frame(HEADERS, headers, flags=flags, stream=stream)]
    for request in call.requests:
        body = message(request[:16_000])
        if random.random() < 0.2:
            body = mangled(random, body)
        at = random.randrange(len(body) + 1)
        sent += [frame(DATA, body[:at], stream=stream), frame(DATA, body[at:], stream=stream)]
    if random.random() < 0.7:
        sent.append(frame(DATA, flags=END_STREAM, stream=stream))
    if random.random() < 0.2:
        sent.append(frame(RST_STREAM, CANCEL, stream=stream))
    return sent


def _odd_frame(random: Random) -> bytes:
    payload = random.choice(
        (
            *(b"", bytes(8), b"\xff" * 4, bytes(5), b"\0\1\0\0\0\0", b"\0\4\x7f\xff\xff\xff"),
            *(b"\0\5\xff\xff\xff\xff", b"\0\3\0\0\0\0" * 50, bytes(16_384), bytes(16_385)),
        )
    )
    kind = random.choice((*_KINDS, PING, GO_AWAY, SETTINGS))
    flags = random.choice((0, ACK, END_HEADERS, 0x8, 0x20, 0xFF))
    return frame(kind, payload, flags=flags, stream=random.choice(_STREAMS))


_METHODS = ("GET", "POST", "HEAD", "PUT", "OPTIONS", "CONNECT", "PRI", "get", "", "X" * 300, "G\0")
_TARGETS = (
    *("/v1/health", "/v1/status", "/metrics", "/v1/runs", "/v1/check", "/v1/challenge"),
    *("/v1/challenge?nonce=" + "a" * 32, "/v1/challenge?nonce=%ff%00", "/v1/runs?limit=9&limit=x"),
    *(
        "/v1/runs?instance=%ed%a0%80",
        "/v1/runs?" + "a&" * 300,
        "/v1/runs?instance=..&limit=999999999",
    ),
    *("*", "/", "//", "/../etc/passwd", "/v1/%2e%2e", "http://x/v1/health", "localhost:1", "/\xff"),
    *("/v1/health#x", "/v1/health;x", "/" + "x" * 9000, "/v1/health/", "/v1\0/health", "/%00"),
)
_BODIES = (
    *(b"", b"{}", b"[" * 5000, b'{"instance": "a"}', b'{"instance": "\\ud800"}', b"\xff", b"null"),
    *(
        b'{"instance": 1e999}',
        b'{"instance": "' + b"x" * 999 + b'"}',
        b'{"instance": "a", "instance": 1}',
    ),
    b'{"instance": ' + b"9" * 5000 + b"}",
)


def http1_bytes(random: Random, token: str) -> bytes:
    """One or more requests to the admin interface, with faults, but none that stops the server."""
    sent = b"".join(_request(random, token) for _ in range(random.choice((1, 1, 1, 2, 4))))
    return mangled(random, sent) if random.random() < 0.3 else sent


def _request(random: Random, token: str) -> bytes:
    body = random.choice(_BODIES)
    length = random.choice((len(body), len(body), len(body), *INTEGERS))
    lines = [
        f"{random.choice(_METHODS)} {random.choice(_TARGETS)} HTTP/{random.choice(_VERSIONS)}",
        "Host: localhost",
        *random.choice(
            (
                (f"Authorization: Bearer {token}",),
                (f"Authorization: Bearer {token}", "Authorization: Bearer x"),
                ("Authorization: Bearer \xff\xfe",),
                (),
            )
        ),
        *random.choice(
            (
                (f"Content-Length: {length}",),
                (f"Content-Length: {length}", "Content-Length: 7"),
                ("Transfer-Encoding: chunked",),
                (f"Content-Length: {length}", "Transfer-Encoding: chunked"),
                (),
            )
        ),
    ]
    if random.random() < 0.3:
        lines.append(random.choice(_LINES))
    head = "\r\n".join(lines).encode("latin-1")
    return head + b"\r\n\r\n" + (random.choice(_CHUNKED) if random.random() < 0.2 else body)


_VERSIONS = ("1.1", "1.1", "1.1", "1.0", "2.0", "9.9", "", "1.1.1")
_LINES = (
    *("Expect: 100-continue", "Upgrade: websocket", "Connection: Upgrade, HTTP2-Settings", "X"),
    *(
        "X: " + "y" * 70_000,
        "\0: x",
        "X : y",
        " folded",
        "Connection: close",
        "Upgrade: h2c",
        ": x",
    ),
    "\r\n".join(f"X-{number}: y" for number in range(300)),
)
_CHUNKED = (
    b"0\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"ffffffffffffffffff\r\n",
    b"-1\r\n",
    b"5;x=y\r\nhi",
)
