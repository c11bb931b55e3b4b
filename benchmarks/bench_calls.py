"""What calls cost: our server on both transports, and others beside it."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import blobs
from load import Client, Cost, connect, cost_of, many
from report import Result
from servers import Serving, peer, reapi_local

from reapi_local.proto import remote_execution_pb2 as re_pb2

_BATCH = 400
_BLOB_BYTES = 4096
_LARGE_BYTES = 64 * blobs.MIB
_CAS = "ContentAddressableStorage"
_TRANSPORTS = ("native", "grpcio")


def measure(options: argparse.Namespace) -> list[Result]:
    """All servers run at once; each call is made to one after the other, round by round."""
    scratch = Path(options.scratch)
    costs: dict[tuple[str, str], list[Cost]] = defaultdict(list)
    with ExitStack() as stack:
        servers = [
            stack.enter_context(reapi_local(scratch / name, f"--transport={name}", name=name))
            for name in _TRANSPORTS
        ]
        for given in options.peer:
            name, _, command = given.partition("=")
            servers.append(stack.enter_context(peer(name, command, scratch / name)))
        shops = [Shop(serving, stack.enter_context(connect(serving))) for serving in servers]
        for _ in range(options.rounds):
            for calls in zip(*(shop.calls() for shop in shops), strict=True):
                for shop, (what, call) in zip(shops, calls, strict=True):
                    costs[what, shop.serving.name].append(call())
    return list(_results(costs))


def _results(costs: dict[tuple[str, str], list[Cost]]) -> Iterator[Result]:
    for (what, name), samples in costs.items():
        yield Result(f"{what}: CPU", name, "s", [cost.cpu_s for cost in samples])
        yield Result(f"{what}: wall", name, "s", [cost.wall_s for cost in samples])


class Shop:
    """A server with something in it, and the calls to make."""

    def __init__(self, serving: Serving, client: Client) -> None:
        self.serving, self._client = serving, client
        content = blobs.random_blobs(1000, _BLOB_BYTES)
        self._digests = [blobs.digest_of(data) for data in content]
        self._there = blobs.update(content[:_BATCH])
        for start in range(0, len(content), _BATCH):
            self._update(blobs.update(content[start : start + _BATCH]))
        self._action = self._store_result()
        self._large = blobs.random_blobs(1, _LARGE_BYTES)[0]
        client.write(blobs.write_stream(self._large))

    def _update(self, request: re_pb2.BatchUpdateBlobsRequest) -> None:
        answer = self._client.unary(f"{_CAS}/BatchUpdateBlobs", request.SerializeToString())
        for response in re_pb2.BatchUpdateBlobsResponse.FromString(answer).responses:
            if response.status.code:
                raise SystemExit(f"{self.serving.name} refused a blob: {response.status.message}")

    def _store_result(self) -> re_pb2.Digest:
        """The action of a result with two files and standard output."""
        action, *files, output = self._digests[:4]
        result = re_pb2.ActionResult(
            output_files=[
                {"path": f"out/{number}", "digest": file} for number, file in enumerate(files)
            ],
            stdout_digest=output,
        )
        request = re_pb2.UpdateActionResultRequest(action_digest=action, action_result=result)
        self._client.unary("ActionCache/UpdateActionResult", request.SerializeToString())
        get = re_pb2.GetActionResultRequest(action_digest=action)
        self._client.unary("ActionCache/GetActionResult", get.SerializeToString())
        return action

    def calls(self) -> Iterator[tuple[str, Callable[[], Cost]]]:
        """Each call with its name, ready to be made and measured."""
        serving, client = self.serving, self._client
        get = re_pb2.GetActionResultRequest(action_digest=self._action)
        lookup = "ActionCache/GetActionResult"
        yield "GetActionResult hit, 1 at a time", lambda: many(serving, lookup, get, 3000)
        yield "GetActionResult hit, 32 at a time", lambda: many(serving, lookup, get, 9600, 32)
        find = blobs.find_missing(self._digests)
        yield (
            "FindMissingBlobs, 1,000 there",
            lambda: many(serving, f"{_CAS}/FindMissingBlobs", find, 200),
        )
        new = [
            blobs.update(blobs.random_blobs(_BATCH, _BLOB_BYTES)).SerializeToString()
            for _ in range(10)
        ]
        yield (
            "BatchUpdateBlobs, 400 × 4 KB, new",
            lambda: cost_of(
                serving,
                lambda: [client.unary(f"{_CAS}/BatchUpdateBlobs", batch) for batch in new],
                len(new),
            ),
        )
        yield (
            "BatchUpdateBlobs, 400 × 4 KB, there",
            lambda: many(serving, f"{_CAS}/BatchUpdateBlobs", self._there, 50),
        )
        read = blobs.read(self._digests[:_BATCH])
        yield (
            "BatchReadBlobs, 400 × 4 KB",
            lambda: many(serving, f"{_CAS}/BatchReadBlobs", read, 50),
        )
        stream = blobs.read_stream(blobs.digest_of(self._large))
        yield (
            "ByteStream.Read, 64 MiB",
            lambda: cost_of(serving, lambda: [client.read(stream) for _ in range(4)], 4),
        )
        fresh = [
            blobs.write_stream(start + self._large[32:]) for start in blobs.random_blobs(4, 32)
        ]
        yield (
            "ByteStream.Write, 64 MiB, new",
            lambda: cost_of(serving, lambda: [client.write(blob) for blob in fresh], 4),
        )
