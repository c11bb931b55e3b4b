"""Clients with the token that try to use up the server's memory, and one that works meanwhile."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import zstandard

from reapi_local.proto.bytestream_pb2 import ReadRequest, WriteRequest
from reapi_local.proto.remote_execution_pb2 import (
    ActionResult,
    BatchReadBlobsRequest,
    Digest,
    GetActionResultRequest,
    UpdateActionResultRequest,
)
from rpc import frames
from rpc.helpers import MIB, TRANSPORTS, Client, blob_name, digest_of
from server.attacks import CONTINUATION, Attacker, at_once, unfinished
from server.process import Process, state_of

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")

BUDGET = 128 * MIB
MOST = 3 * BUDGET
"""Most attacks send three times the budget. How far the memory gets beyond it depends on how soon a
thread runs on a busy machine; on an idle one it stays within a fifth."""
SLACK = 24 * MIB
"""What the interpreter keeps of what it once used, and what calls that are no attack take."""

STORAGE = "/build.bazel.remote.execution.v2.ContentAddressableStorage"
MISSING, BATCH = f"{STORAGE}/FindMissingBlobs", f"{STORAGE}/BatchReadBlobs"
READ, WRITE = "/google.bytestream.ByteStream/Read", "/google.bytestream.ByteStream/Write"
CONTENT = os.urandom(2 * MIB)
LARGE = os.urandom(16 * MIB)


class Victim:
    """A server in a process of its own, and what it takes."""

    def __init__(self, process: Process, data: Path) -> None:
        self.process, self.state = process, state_of(data)
        self.port, self.token = self.state["grpc_port"], self.state["token"]
        self.attackers: list[Attacker] = []

    def attacker(self, window: int = 65_535) -> Attacker:
        attacker = Attacker(self.port, self.token, window)
        self.attackers.append(attacker)
        return attacker

    def client(self) -> Client:
        return Client(f"127.0.0.1:{self.port}", [("authorization", f"Bearer {self.token}")])

    def taken(self, name: str = "RssAnon") -> int:
        """Bytes of memory, by a name in ``/proc/PID/status``."""
        status = Path(f"/proc/{self.state['pid']}/status").read_text(encoding="utf-8")
        [line] = (line for line in status.splitlines() if line.startswith(f"{name}:"))
        return int(line.split()[1]) * 1024

    def forget_peak(self) -> int:
        """From now on ``VmHWM`` is the most that it takes; returns what it takes now."""
        Path(f"/proc/{self.state['pid']}/clear_refs").write_text("5", encoding="utf-8")
        return self.taken("VmRSS")


@pytest.fixture(scope="module", params=TRANSPORTS)
def victim(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Victim]:
    data = tmp_path_factory.mktemp("data")
    given = ("--transport", request.param, "--in-flight", str(BUDGET), "--min-free", "0")
    with Process("--data-dir", str(data), "--port", "0", "--execution", "off", *given) as process:
        process.serving()
        yield Victim(process, data)


def requests_in_one_connection(victim: Victim) -> None:
    attacker = victim.attacker()
    for _ in range(110):
        attacker.pour(attacker.begin(MISSING), unfinished(4 * MIB - 1000))


def requests_in_many_connections(victim: Victim) -> None:
    def attack() -> None:
        attacker = victim.attacker()
        for _ in range(6):
            attacker.pour(attacker.begin(MISSING), unfinished(4 * MIB - 1000))

    at_once([attack] * 20)


def a_long_message(victim: Victim) -> None:
    attacker = victim.attacker()
    attacker.pour(attacker.begin(MISSING), unfinished(400 * MIB))


def readers(victim: Victim) -> None:
    request = ReadRequest(resource_name=blob_name(digest_of(LARGE))).SerializeToString()
    for _ in range(2):
        attacker = victim.attacker(window=0)
        for _ in range(100):
            attacker.call(READ, request)


def answers(victim: Victim) -> None:
    request = BatchReadBlobsRequest(digests=[digest_of(CONTENT)]).SerializeToString()
    for _ in range(2):
        attacker = victim.attacker(window=0)
        for _ in range(100):
            attacker.call(BATCH, request)


def idle_streams(victim: Victim) -> None:
    for _ in range(3):
        attacker = victim.attacker()
        for _ in range(1000):
            attacker.begin(MISSING)


def upload(attacker: Attacker, form: str, data: bytes, length: int) -> None:
    """The beginning of an upload that never goes on."""
    digest = Digest(hash=uuid.uuid4().hex * 2, size_bytes=length)
    name = f"uploads/{uuid.uuid4()}/{form}/{digest.hash}/{digest.size_bytes}"
    stream = attacker.begin(WRITE)
    for start in range(0, len(data), MIB):
        piece = WriteRequest(resource_name=name, write_offset=start, data=data[start : start + MIB])
        attacker.pour(stream, [frames.message(piece.SerializeToString())])


def plain_uploads(victim: Victim) -> None:
    def attack() -> None:
        attacker = victim.attacker()
        for _ in range(50):
            upload(attacker, "blobs", CONTENT[: MIB // 2], MIB)

    at_once([attack] * 20)


def compressed_uploads(victim: Victim) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=23, compression_level=1)
    data = zstandard.ZstdCompressor(compression_params=parameters).compress(LARGE)[: 10 * MIB]

    def attack() -> None:
        upload(victim.attacker(), "compressed-blobs/zstd", data, 100 * MIB)

    at_once([attack] * 4)  # as many as have a place: others send no more than a window


def flood(victim: Victim, *pieces: bytes) -> None:
    attacker = victim.attacker()
    for piece in pieces:
        attacker.send(piece)


def settings(victim: Victim) -> None:
    flood(victim, *[frames.frame(frames.SETTINGS) * 500] * 40)


def pings(victim: Victim) -> None:
    flood(victim, *[frames.frame(frames.PING, b"12345678") * 500] * 40)


def endless_headers(victim: Victim) -> None:
    more = frames.literal(b"x" * 20, b"y" * 100) * 50
    begin = frames.frame(frames.HEADERS, frames.call_headers(MISSING, victim.token), stream=1)
    flood(victim, begin, *[frames.frame(CONTINUATION, more, stream=1)] * 2000)


def resets(victim: Victim) -> None:
    attacker = victim.attacker()
    for _ in range(2000):
        stream = attacker.begin(MISSING)
        attacker.send(frames.frame(frames.RST_STREAM, frames.CANCEL, stream=stream))


ATTACKS = (
    requests_in_one_connection,
    requests_in_many_connections,
    a_long_message,
    readers,
    answers,
    idle_streams,
    plain_uploads,
    compressed_uploads,
    settings,
    pings,
    endless_headers,
    resets,
)


async def work(client: Client, calls: asyncio.Queue[int], stop: asyncio.Event) -> None:
    """Small calls one after the other, of which none may fail."""
    action = Digest(hash="a" * 64, size_bytes=1)
    await client.UpdateActionResult(
        UpdateActionResultRequest(action_digest=action, action_result=ActionResult(exit_code=0))
    )
    while not stop.is_set():
        await client.GetActionResult(GetActionResultRequest(action_digest=action))
        await client.missing(*(digest_of(bytes([number])) for number in range(10)))
        calls.put_nowait(1)


async def made_now(calls: asyncio.Queue[int], working: asyncio.Task[None], count: int) -> None:
    """Wait for so many calls, made from now on; raises what they raise."""
    while not calls.empty():
        calls.get_nowait()
    for _ in range(count):
        next_call = asyncio.ensure_future(calls.get())
        await asyncio.wait({next_call, working}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            next_call.cancel()
            await working


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
async def test_memory_stays_within_the_budget_and_others_are_served(
    victim: Victim, attack: Callable[[Victim], Any]
) -> None:
    uploader, client = victim.client(), victim.client()
    for blob in (CONTENT, LARGE):
        await uploader.upload(blob)
    await uploader.channel.close()
    idle, before = victim.taken(), victim.forget_peak()
    stop, calls = asyncio.Event(), asyncio.Queue[int]()
    working = asyncio.create_task(work(client, calls, stop))
    await asyncio.to_thread(at_once, [partial(attack, victim)])
    await made_now(calls, working, 5)
    peak = victim.taken("VmHWM") - before
    for attacker in victim.attackers:
        attacker.close()
    victim.attackers.clear()
    while victim.taken() > idle + SLACK:
        await made_now(calls, working, 5)
    stop.set()
    await working
    await client.channel.close()

    assert peak < MOST
