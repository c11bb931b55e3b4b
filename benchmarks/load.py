"""Calls, many of them, with clients that cost less than the servers."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message
from servers import Serving

SERVICES = "build.bazel.remote.execution.v2."
_DONE = re.compile(r"finished in ([\d.]+)(us|ms|s),")
_SUCCEEDED = re.compile(r"(\d+) succeeded, 0 failed, 0 errored, 0 timeout")
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_MAX_S = 300


@dataclass(frozen=True)
class Cost:
    """Of one call, in seconds: what passed for the client, what the server computed."""

    wall_s: float
    cpu_s: float


def many(serving: Serving, method: str, request: Message, count: int, at_once: int = 1) -> Cost:
    """``count`` unary calls over one connection, by h2load, which is a C program."""
    program = shutil.which("h2load")
    if program is None:
        raise SystemExit("h2load is missing; Debian has it in the package nghttp2-client")
    body = request.SerializeToString()
    headers = [*serving.headers, ("content-type", "application/grpc"), ("te", "trailers")]
    with tempfile.NamedTemporaryFile() as file:
        # gRPC's prefix: not compressed, and the length.
        file.write(b"\0" + len(body).to_bytes(4, "big") + body)
        file.flush()
        command = [program, f"-n{count}", "-c1", f"-m{at_once}", "-w26", "-W26", "-d", file.name]
        command += [word for name, value in headers for word in ("-H", f"{name}: {value}")]
        command += [f"http://127.0.0.1:{serving.port}/{SERVICES}{method}"]
        before = serving.cpu_seconds
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_MAX_S)
        cpu = serving.cpu_seconds - before
    finished, succeeded = _DONE.search(done.stdout), _SUCCEEDED.search(done.stdout)
    if not finished or not succeeded or int(succeeded[1]) != count:
        raise SystemExit(f"h2load failed on {serving.name}: {done.stdout}{done.stderr}")
    return Cost(float(finished[1]) * _UNITS[finished[2]] / count, cpu / count)


def cost_of(serving: Serving, work: Callable[[], object], count: int = 1) -> Cost:
    """Of each of the ``count`` calls that ``work`` makes."""
    before, began = serving.cpu_seconds, time.perf_counter()
    work()
    wall = time.perf_counter() - began
    return Cost(wall / count, (serving.cpu_seconds - before) / count)


class Client:
    """Calls that h2load can't make: streams, and requests that all differ. Takes serialized
    messages and doesn't look into what it gets."""

    def __init__(self, channel: grpc.Channel, serving: Serving) -> None:
        self._channel: Any = channel
        self._metadata = serving.headers

    def unary(self, method: str, request: bytes) -> bytes:
        call = self._channel.unary_unary(f"/{SERVICES}{method}", None, None)
        answer: bytes = call(request, metadata=self._metadata, timeout=_MAX_S)
        return answer

    def read(self, request: bytes) -> int:
        """Bytes received."""
        call = self._channel.unary_stream("/google.bytestream.ByteStream/Read", None, None)
        return sum(map(len, call(request, metadata=self._metadata, timeout=_MAX_S)))

    def write(self, requests: Iterable[bytes]) -> bytes:
        call = self._channel.stream_unary("/google.bytestream.ByteStream/Write", None, None)
        answer: bytes = call(iter(requests), metadata=self._metadata, timeout=_MAX_S)
        return answer


@contextmanager
def connect(serving: Serving) -> Iterator[Client]:
    """A client over one connection."""
    options = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{serving.port}", options=options) as channel:
        yield Client(channel, serving)
