"""GetTree: every Directory once, breadth first, in pages."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from reapi_local.proto.remote_execution_pb2 import (
    BatchUpdateBlobsRequest,
    Digest,
    Directory,
    GetTreeRequest,
)
from rpc.helpers import MIB, Client, digest_of, refusal

pytestmark = pytest.mark.asyncio(loop_scope="module")

EMPTY = digest_of(b"")


def directory(file: str, **children: Digest) -> Directory:
    """With one empty file, so that directories can be told apart."""
    return Directory(
        files=[{"name": file, "digest": EMPTY}],
        directories=[{"name": name, "digest": digest} for name, digest in children.items()],
    )


async def store(client: Client, *directories: Directory) -> list[Digest]:
    return [await client.upload(d.SerializeToString(deterministic=True)) for d in directories]


async def pages(client: Client, root: Digest, **more: Any) -> list[Any]:
    return [page async for page in client.GetTree(GetTreeRequest(root_digest=root, **more))]


def files(pages: list[Any]) -> list[str]:
    return [d.files[0].name for page in pages for d in page.directories]


async def test_directories_come_breadth_first_and_shared_ones_once(client: Client) -> None:
    [shared] = await store(client, directory("shared"))
    left, right = await store(
        client, directory("left", a=shared, b=shared), directory("right", a=shared)
    )
    [root] = await store(client, directory("root", l=left, r=right, s=shared))
    [page] = await pages(client, root)
    assert files([page]) == ["root", "left", "right", "shared"]
    assert page.next_page_token == ""


async def test_the_empty_directory_is_a_tree(client: Client) -> None:
    [page] = await pages(client, EMPTY)
    assert list(page.directories) == [Directory()]


async def test_a_missing_root_is_not_found(client: Client) -> None:
    root = digest_of(b"no such root")
    call = client.GetTree(GetTreeRequest(root_digest=root))
    await refusal(call, grpc.StatusCode.NOT_FOUND, root.hash)


async def test_missing_children_are_left_out(client: Client) -> None:
    [there] = await store(client, directory("there"))
    [root] = await store(client, directory("root", a=digest_of(b"missing"), b=there))
    assert files(await pages(client, root)) == ["root", "there"]


async def test_pages_join_up_to_the_tree_wherever_one_begins(client: Client) -> None:
    leaves = await store(client, *(directory(f"leaf{number}") for number in range(25)))
    children = {f"d{number:02}": leaf for number, leaf in enumerate(leaves)}
    [root] = await store(client, directory("root", **children))
    whole = files(await pages(client, root))
    assert len(whole) == 26
    paged = await pages(client, root, page_size=10)
    assert [len(page.directories) for page in paged] == [10, 10, 6]
    assert files(paged) == whole
    token = paged[0].next_page_token
    assert token
    assert files(await pages(client, root, page_size=10, page_token=token)) == whole[10:]
    assert paged[-1].next_page_token == ""


async def test_a_page_stays_within_what_clients_accept(client: Client) -> None:
    """Whatever size of page the client asks for."""
    names = [f"{number:0>200}" for number in range(1000)]
    big = [
        Directory(files=[{"name": f"{part}{name}", "digest": EMPTY} for name in names])
        for part in range(20)
    ]
    assert big[0].ByteSize() > 250_000
    digests = await store(client, *big)
    [root] = await store(client, directory("root", **{f"d{n}": d for n, d in enumerate(digests)}))
    paged = await pages(client, root, page_size=1000)
    assert sum(len(page.directories) for page in paged) == 21
    assert max(page.ByteSize() for page in paged) < 4 * MIB


@pytest.mark.slow
async def test_a_chain_of_a_thousand_directories(client: Client) -> None:
    [digest] = await store(client, directory("999"))
    for number in range(998, -1, -1):
        [digest] = await store(client, directory(str(number), next=digest))
    assert files(await pages(client, digest)) == [str(number) for number in range(1000)]


async def test_a_tree_of_another_digest_function(client: Client) -> None:
    leaf = directory("leaf")
    data = leaf.SerializeToString()
    digests = []
    for blob in (data, directory("root", a=digest_of(data, 6)).SerializeToString()):
        digests.append(digest_of(blob, 6))
        request = {"requests": [{"digest": digests[-1], "data": blob}], "digest_function": 6}
        await client.BatchUpdateBlobs(BatchUpdateBlobsRequest(**request))
    assert files(await pages(client, digests[1], digest_function=6)) == ["root", "leaf"]
    assert files(await pages(client, digests[1])) == ["root", "leaf"]
