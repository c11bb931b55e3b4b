"""Fuzzes guided by coverage, for as long as one likes. CONTRIBUTING.md says how to start it.

``by_hand.py TARGET [CORPUS] [options of libFuzzer]``; a target is ``parsers`` or one of
``ON_A_SERVER``. It needs atheris, which is in no requirements. Its bytes choose among the same
hostile messages as the tests do.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import atheris  # pants: no-infer-dep

with atheris.instrument_imports(include=["reapi_local"]):
    from fuzz.hostile import mangled, wild, wild_command, wild_directory, wild_result, wild_tree
    from fuzz.http_bytes import http1_bytes, http2_bytes
    from fuzz.scenarios import KNOWN, STORED, batch, resource_name, scenario
    from fuzz.verdict import Peer
    from reapi_local.errors import InvalidRequest
    from reapi_local.execute.local.inputs.parsed_directory import parse_input_directory
    from reapi_local.proto import remote_execution_pb2 as re_pb2
    from reapi_local.protocol import command, inline_contents, tree
    from reapi_local.protocol import resource_name as names
    from reapi_local.protocol.digest import DigestFunction, parse_digest
    from reapi_local.protocol.zstd import Decoder
    from rpc.frames import answer_to
    from rpc.helpers import Server, serving

SHA256 = DigestFunction.SHA256


class Chosen(Random):
    """Draws from bytes, and zeros after them."""

    def __init__(self, data: bytes) -> None:
        super().__init__(0)
        self._provider = atheris.FuzzedDataProvider(data)

    def random(self) -> float:
        number: int = self._provider.ConsumeUInt(4)
        return number / 2**32

    def getrandbits(self, k: int, /) -> int:
        number: int = self._provider.ConsumeUInt((k + 7) // 8)
        return number & ((1 << k) - 1)


def parsers(random: Random) -> None:
    """All that decodes what a client sends, without a server."""
    random.choice(_PARSERS)(random)


def _names(random: Random) -> None:
    name = resource_name(random, random.choice(KNOWN), upload=random.random() < 0.5)
    for parse in (names.parse_read_name, names.parse_write_name, names.instance_of_resource):
        _refused_or_fine(partial(parse, name))


def _commands(random: Random) -> None:
    data = _maybe_mangled(random, wild_command(random).SerializeToString())
    _refused_or_fine(lambda: command.parse_command(data, wild(random, re_pb2.Platform)))
    action = _maybe_mangled(random, wild(random, re_pb2.Action, KNOWN).SerializeToString())
    _refused_or_fine(lambda: command.parse_action(action, SHA256))


def _directories(random: Random) -> None:
    data = _maybe_mangled(random, wild_directory(random, KNOWN).SerializeToString())
    _refused_or_fine(lambda: parse_input_directory(data, SHA256))


def _trees(random: Random) -> None:
    data = _maybe_mangled(random, wild_tree(random, KNOWN).SerializeToString())

    def read() -> None:
        parsed = tree.parse_tree(data)
        tree.check_tree(parsed, SHA256)
        tree.tree_files(parsed, SHA256)

    _refused_or_fine(read)


def _results(random: Random) -> None:
    result = wild_result(random, KNOWN)

    def check() -> None:
        inline_contents.take_inline(result, SHA256)
        tree.check_result(result, SHA256)
        if tree.leaves_working_directory(result):
            tree.check_places(result, random.choice(("", "a", "out/b")))

    _refused_or_fine(check)


def _zstd(random: Random) -> None:
    digest = parse_digest(random.choice(KNOWN))

    def decode() -> None:
        decoder = Decoder(digest)
        for _ in range(random.randrange(4)):
            decoder.feed(random.randbytes(random.randrange(300)))
            while not decoder.needs_data:
                decoder.read()
        decoder.finish()

    _refused_or_fine(decode)


_PARSERS: tuple[Callable[[Random], None], ...] = (
    *(_names, _commands, _directories, _trees, _results, _zstd),
)


def _maybe_mangled(random: Random, data: bytes) -> bytes:
    return mangled(random, data) if random.random() < 0.3 else data


def _refused_or_fine(call: Callable[[], object]) -> None:
    with suppress(InvalidRequest):
        call()


class ErrorsRaise(logging.Handler):
    """An ERROR in the log is a finding."""

    def emit(self, record: logging.LogRecord) -> None:
        findings.append(self.format(record))


findings: list[str] = []


async def calls(random: Random, server: Server, peer: Peer) -> None:
    """Calls of a client."""
    for call in scenario(random):
        findings.extend(await peer.faults(call))


async def grpc_port(random: Random, server: Server, peer: Peer) -> None:
    """Bytes on the port of gRPC."""
    await answer_to(server.app.grpc_port, http2_bytes(random, server.token))


async def admin_port(random: Random, server: Server, peer: Peer) -> None:
    """Bytes on the port of the admin interface."""
    answer = await answer_to(server.app.admin_port, http1_bytes(random, server.token))
    if b"HTTP/1.1 5" in answer:
        findings.append(repr(answer))


Attack = Callable[[Random, Server, Peer], Coroutine[Any, Any, None]]
ON_A_SERVER: dict[str, Attack] = {
    f"{attack.__name__}-{transport}": attack
    for attack in (calls, grpc_port, admin_port)
    for transport in ("native", "grpcio")
}


def main() -> None:
    target, *options = sys.argv[1:]
    if target == "parsers":
        atheris.Setup([sys.argv[0], *options], lambda data: parsers(Chosen(data)))
        atheris.Fuzz()
        return
    logging.getLogger().addHandler(ErrorsRaise(logging.ERROR))
    attack, transport = ON_A_SERVER[target], target.rpartition("-")[2]
    with asyncio.Runner() as runner:
        block = serving(Path(tempfile.mkdtemp()), transport, execution="auto", lease=60.0)
        server = runner.run(block.__aenter__())
        peer = Peer(server.client.channel, server.token)
        runner.run(peer.faults(batch(STORED)))

        def attacked(data: bytes) -> None:
            runner.run(attack(Chosen(data), server, peer))
            if findings:
                raise AssertionError("\n".join(findings))

        atheris.Setup([sys.argv[0], *options], attacked)
        atheris.Fuzz()  # which ends the process


if __name__ == "__main__":
    main()
