"""The action cache: a hit promises that everything the result reaches can be read."""

from __future__ import annotations

import os
from typing import Any

import grpc
import pytest

from reapi_local.proto.remote_execution_pb2 import (
    ActionResult,
    BatchUpdateBlobsRequest,
    Digest,
    Directory,
    GetActionResultRequest,
    Tree,
    UpdateActionResultRequest,
)
from rpc.helpers import Client, digest_of, refusal

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOT_FOUND = grpc.StatusCode.NOT_FOUND


@pytest.fixture
def action() -> Digest:
    return digest_of(os.urandom(16))


def absent() -> Digest:
    return digest_of(os.urandom(16))


async def put(client: Client, action: Digest, result: ActionResult, instance: str = "") -> None:
    request = UpdateActionResultRequest(
        instance_name=instance, action_digest=action, action_result=result
    )
    assert await client.UpdateActionResult(request) == result


def get(client: Client, action: Digest, instance: str = "") -> Any:
    return client.GetActionResult(
        GetActionResultRequest(instance_name=instance, action_digest=action)
    )


async def is_hit(client: Client, action: Digest, instance: str = "") -> bool:
    try:
        await get(client, action, instance)
    except grpc.aio.AioRpcError as error:
        if error.code() is not NOT_FOUND:
            raise
        return False
    return True


async def test_a_complete_result_comes_back_as_it_was(client: Client, action: Digest) -> None:
    file = await client.upload(os.urandom(100))
    tree = Tree(
        root=Directory(
            files=[{"name": "f", "digest": file}], symlinks=[{"name": "s", "target": "../up"}]
        )
    )
    result = ActionResult(
        output_files=[{"path": "a/b", "digest": file, "is_executable": True}],
        output_directories=[
            {"path": "", "tree_digest": await client.upload(tree.SerializeToString())}
        ],
        output_symlinks=[{"path": "link", "target": "/anywhere"}],
        exit_code=3,
        stdout_digest=file,
        stderr_raw=b"raw",
        execution_metadata={"worker": "w"},
    )
    await put(client, action, result)
    assert await get(client, action) == result


async def test_an_unknown_action_is_not_found(client: Client, action: Digest) -> None:
    await refusal(get(client, action), NOT_FOUND, action.hash)


async def test_the_last_result_counts(client: Client, action: Digest) -> None:
    for code in (1, 2):
        await put(client, action, ActionResult(exit_code=code))
    assert (await get(client, action)).exit_code == 2


async def test_a_result_may_come_before_its_blobs(client: Client, action: Digest) -> None:
    data = os.urandom(100)
    await put(client, action, ActionResult(stdout_digest=digest_of(data)))
    await client.upload(data)
    assert await is_hit(client, action)


async def incomplete_results(client: Client) -> dict[str, ActionResult]:
    there = await client.upload(b"there")
    subdirectory = Directory(files=[{"name": "f", "digest": absent()}])
    trees = {
        "file missing in the root of a Tree": Tree(root=subdirectory),
        "file missing in a child of a Tree": Tree(root=Directory(), children=[subdirectory]),
    }
    gap = Directory(directories=[{"name": "d", "digest": absent()}])
    leaf = Directory(files=[{"name": "f", "digest": there}])
    stored_leaf = await client.upload(leaf.SerializeToString())
    to_leaf = Directory(directories=[{"name": "leaf", "digest": stored_leaf}])
    to_below = Directory(
        directories=[{"name": "d", "digest": digest_of(to_leaf.SerializeToString())}]
    )
    to_empty = Directory(directories=[{"name": "d", "digest": digest_of(b"")}])
    trees |= {
        "sub-directory of a Tree's root not in it": Tree(root=gap),
        "sub-directory not in its Tree, though it is a blob": Tree(root=to_leaf),
        "sub-directory of a child not in its Tree": Tree(root=to_below, children=[to_leaf]),
        "empty sub-directory not in its Tree": Tree(root=to_empty),
        "root missing in a Tree": Tree(children=[leaf]),
        "Tree without anything": Tree(),
    }
    hole = await client.upload(subdirectory.SerializeToString())
    nested = Directory(directories=[{"name": "d", "digest": hole}])
    roots = {"sub-directory missing": gap, "file missing in a sub-directory": nested}
    return (
        {
            "output file": ActionResult(
                output_files=[{"path": "a", "digest": there}, {"path": "b", "digest": absent()}]
            ),
            "stdout": ActionResult(stdout_digest=absent()),
            "stderr": ActionResult(stderr_digest=absent()),
            "Tree": ActionResult(output_directories=[{"path": "d", "tree_digest": absent()}]),
            "corrupt Tree": ActionResult(
                output_directories=[{"path": "d", "tree_digest": await client.upload(b"\xff\xff")}]
            ),
            "root Directory": ActionResult(
                output_directories=[{"path": "d", "root_directory_digest": absent()}]
            ),
        }
        | {
            name: ActionResult(
                output_directories=[
                    {"path": "d", "tree_digest": await client.upload(tree.SerializeToString())}
                ]
            )
            for name, tree in trees.items()
        }
        | {
            name: ActionResult(
                output_directories=[
                    {
                        "path": "d",
                        "root_directory_digest": await client.upload(root.SerializeToString()),
                    }
                ]
            )
            for name, root in roots.items()
        }
    )


async def test_a_result_with_a_gap_is_a_miss(client: Client) -> None:
    results = await incomplete_results(client)
    assert len(results) == 16
    for name, result in results.items():
        action = absent()
        await put(client, action, result)
        assert not await is_hit(client, action), name


async def test_a_result_with_a_gap_is_gone_for_good(client: Client, action: Digest) -> None:
    data = os.urandom(100)
    await put(client, action, ActionResult(stdout_digest=digest_of(data)))
    assert not await is_hit(client, action)
    await client.upload(data)
    assert not await is_hit(client, action)


async def test_the_sub_directories_of_a_tree_need_not_be_blobs(
    client: Client, action: Digest
) -> None:
    file = await client.upload(os.urandom(10))
    leaf = Directory(files=[{"name": "f", "digest": file}])
    name = digest_of(leaf.SerializeToString())
    tree = Tree(root=Directory(directories=[{"name": "d", "digest": name}]), children=[leaf])
    digest = await client.upload(tree.SerializeToString())
    await put(
        client, action, ActionResult(output_directories=[{"path": "d", "tree_digest": digest}])
    )
    assert await client.missing(name) == [name]
    assert await is_hit(client, action)


@pytest.mark.parametrize("function", [1, 5, 6, 9])
async def test_a_tree_may_be_of_any_depth_and_name_a_directory_twice(
    client: Client, action: Digest, function: int
) -> None:
    children = [Directory()]
    for level in range(3):
        below = digest_of(children[-1].SerializeToString(), function)
        nodes = [{"name": f"{name}{level}", "digest": below} for name in "ab"]
        children.append(Directory(directories=nodes))
    tree = Tree(root=children.pop(), children=children).SerializeToString()
    digest = digest_of(tree, function)
    item = {"digest": digest, "data": tree}
    await client.BatchUpdateBlobs(
        BatchUpdateBlobsRequest(requests=[item], digest_function=function)
    )
    key = {"action_digest": digest, "digest_function": function}
    result = ActionResult(output_directories=[{"path": "d", "tree_digest": digest}])
    await client.UpdateActionResult(UpdateActionResultRequest(action_result=result, **key))
    assert await client.GetActionResult(GetActionResultRequest(**key)) == result


async def test_a_complete_directory_by_its_root_is_a_hit(client: Client, action: Digest) -> None:
    file = await client.upload(os.urandom(10))
    leaf = Directory(files=[{"name": "f", "digest": file}])
    sub = await client.upload(leaf.SerializeToString())
    root = Directory(directories=[{"name": "a", "digest": sub}, {"name": "b", "digest": sub}])
    digest = await client.upload(root.SerializeToString())
    output = {"path": "d", "root_directory_digest": digest}
    await put(client, action, ActionResult(output_directories=[output]))
    assert await is_hit(client, action)


async def test_an_empty_output_file_needs_no_upload(client: Client, action: Digest) -> None:
    file = {"path": "f", "digest": digest_of(b"")}
    await put(client, action, ActionResult(output_files=[file], stdout_digest=digest_of(b"")))
    assert await is_hit(client, action)


async def test_instances_have_action_caches_of_their_own(client: Client, action: Digest) -> None:
    names = ("", "a", "a/b", "ünï cödé/日本", "x" * 255)
    for code, name in enumerate(names):
        assert not await is_hit(client, action, name)
        await put(client, action, ActionResult(exit_code=code), name)
    for code, name in enumerate(names):
        assert (await get(client, action, name)).exit_code == code


async def test_one_hash_under_two_functions_is_two_actions(client: Client, action: Digest) -> None:
    await put(client, action, ActionResult(exit_code=1))
    request = GetActionResultRequest(action_digest=action, digest_function=9)
    await refusal(client.GetActionResult(request), NOT_FOUND)


async def test_an_action_is_known_by_its_hash_whatever_size_comes_with_it(
    client: Client, action: Digest
) -> None:
    """bazel-remote's proxy asks with size -1, and writes with the size of the result."""
    unknown, other = (Digest(hash=action.hash, size_bytes=size) for size in (-1, 1234))
    await refusal(get(client, unknown), NOT_FOUND, action.hash)
    for code, written in enumerate((action, other, unknown)):
        await put(client, written, ActionResult(exit_code=code))
        for asked in (unknown, action, other):
            assert (await get(client, asked)).exit_code == code
    assert not await is_hit(client, unknown, "another instance")


async def test_an_incomplete_result_is_gone_for_every_size(client: Client, action: Digest) -> None:
    await put(client, action, ActionResult(stdout_digest=absent()))
    for size in (-1, action.size_bytes):
        assert not await is_hit(client, Digest(hash=action.hash, size_bytes=size))
