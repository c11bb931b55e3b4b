"""Large requests: the event loop serves other calls in between.

Everything that a server does in one step of its event loop delays all other calls. A step is
measured by the functions that it calls: with work for each of the things in a large request, it
calls more than `MOST_CALLS`. What runs in threads isn't counted.
"""

from __future__ import annotations

from typing import Any

import pytest

from reapi_local.proto.remote_execution_pb2 import (
    ActionResult,
    BatchReadBlobsRequest,
    BatchUpdateBlobsRequest,
    Digest,
    Directory,
    FindMissingBlobsRequest,
    GetActionResultRequest,
    GetTreeRequest,
    Tree,
    UpdateActionResultRequest,
)
from rpc.helpers import Client, consume, digest_of
from rpc.steps import counted

pytestmark = pytest.mark.asyncio(loop_scope="module")

COUNT = 15_000
MOST_CALLS = 55_000


def small(number: int) -> bytes:
    return b"%08d" % number


BLOBS = [small(number) for number in range(COUNT)]
DIGESTS = [digest_of(blob) for blob in BLOBS]


def absent(digest: Digest) -> Digest:
    """A digest that no blob has."""
    return Digest(hash=digest.hash, size_bytes=digest.size_bytes + 1)


async def answer_of(call: Any, request: bytes) -> list[Any]:
    """What a call answers, whose request is ready to be sent; its steps must be short."""
    with counted() as steps:
        answers = await consume(call(request))
    assert 0 < steps.longest < MOST_CALLS
    return answers


async def put(client: Client, *blobs: bytes) -> list[Digest]:
    items = [{"digest": digest_of(blob), "data": blob} for blob in blobs]
    [answer] = await consume(
        client.BatchUpdateBlobs(BatchUpdateBlobsRequest(requests=items).SerializeToString())
    )
    assert not any(item.status.code for item in answer.responses)
    return [item.digest for item in answer.responses]


@pytest.fixture(scope="module")
def update() -> bytes:
    items = [{"digest": d, "data": b} for d, b in zip(DIGESTS, BLOBS, strict=True)]
    return BatchUpdateBlobsRequest(requests=items).SerializeToString()


async def test_which_blobs_are_missing(client: Client) -> None:
    request = FindMissingBlobsRequest(blob_digests=DIGESTS).SerializeToString()
    [answer] = await answer_of(client.FindMissingBlobs, request)
    assert len(answer.missing_blob_digests) in (0, COUNT)


async def test_a_batch_of_writes(client: Client, update: bytes) -> None:
    [answer] = await answer_of(client.BatchUpdateBlobs, update)
    assert [item.status.code for item in answer.responses] == [0] * COUNT


async def test_a_batch_of_writes_of_what_is_there(client: Client, update: bytes) -> None:
    [answer] = await answer_of(client.BatchUpdateBlobs, update)
    assert [item.status.code for item in answer.responses] == [0] * COUNT


@pytest.mark.parametrize("different", [True, False], ids=["each", "one"])
async def test_a_batch_of_wrong_writes(client: Client, different: bool) -> None:
    digests = DIGESTS if different else DIGESTS[:1] * COUNT
    items = [{"digest": digest, "data": b"00000000"} for digest in digests]
    request = BatchUpdateBlobsRequest(requests=items).SerializeToString()
    [answer] = await answer_of(client.BatchUpdateBlobs, request)
    assert sum(item.status.code != 0 for item in answer.responses) >= different * (COUNT - 1)


@pytest.mark.parametrize("there", [True, False])
async def test_a_batch_of_reads(client: Client, update: bytes, there: bool) -> None:
    if there:
        await consume(client.BatchUpdateBlobs(update))
    digests = DIGESTS if there else map(absent, DIGESTS)
    request = BatchReadBlobsRequest(digests=digests).SerializeToString()
    [answer] = await answer_of(client.BatchReadBlobs, request)
    assert sum(item.status.code == 0 for item in answer.responses) == there * COUNT


FILES = [{"name": small(n).decode(), "digest": DIGESTS[n]} for n in range(COUNT)]
LEAVES = [Directory(files=[file]) for file in FILES[:5_000]]


async def test_a_tree_of_many_directories(client: Client) -> None:
    below = await put(client, *[leaf.SerializeToString() for leaf in LEAVES])
    nodes = [{"name": small(n).decode(), "digest": d} for n, d in enumerate(below)]
    root = await client.upload(Directory(directories=nodes).SerializeToString())
    request = GetTreeRequest(root_digest=root)
    pages = await answer_of(client.GetTree, request.SerializeToString())
    assert sum(len(page.directories) for page in pages) == len(LEAVES) + 1
    request.page_token = str(len(LEAVES))
    [page] = await answer_of(client.GetTree, request.SerializeToString())
    assert len(page.directories) == 1


async def test_a_directory_of_many_directories(client: Client) -> None:
    nodes = [{"name": file["name"], "digest": absent(file["digest"])} for file in FILES]
    root = await client.upload(Directory(directories=nodes).SerializeToString())
    [page] = await answer_of(client.GetTree, GetTreeRequest(root_digest=root).SerializeToString())
    assert len(page.directories[0].directories) == COUNT


async def results(client: Client) -> dict[str, ActionResult]:
    await put(client, *BLOBS)
    outputs = [{"path": small(n).decode(), "digest": d} for n, d in enumerate(DIGESTS)]
    directory = Directory(files=FILES)
    below = await put(client, *[leaf.SerializeToString() for leaf in LEAVES])
    nodes = [{"name": small(n).decode(), "digest": d} for n, d in enumerate(below)]
    wide = Directory(directories=nodes)
    found = {"output files": ActionResult(output_files=outputs)}
    trees = {"Tree of files": Tree(root=directory), "Tree": Tree(root=wide, children=LEAVES)}
    for name, tree in trees.items():
        digest = await client.upload(tree.SerializeToString())
        found[name] = ActionResult(output_directories=[{"path": "d", "tree_digest": digest}])
    for name, root in {"root of files": directory, "root": wide}.items():
        digest = await client.upload(root.SerializeToString())
        found[name] = ActionResult(
            output_directories=[{"path": "d", "root_directory_digest": digest}]
        )
    return found


async def test_action_results_that_reach_much(client: Client) -> None:
    for name, result in (await results(client)).items():
        key = {"action_digest": digest_of(name.encode())}
        update = UpdateActionResultRequest(action_result=result, **key)
        await answer_of(client.UpdateActionResult, update.SerializeToString())
        get = GetActionResultRequest(**key)
        [found] = await answer_of(client.GetActionResult, get.SerializeToString())
        assert found == result
        get.inline_stdout = True
        get.inline_output_files.extend(file.path for file in result.output_files)
        await answer_of(client.GetActionResult, get.SerializeToString())
