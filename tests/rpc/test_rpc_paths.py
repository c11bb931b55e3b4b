"""Working directories and outputs as clients spell them, in every sandbox."""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import pytest
import pytest_asyncio

from reapi_contract import sandbox_levels
from reapi_local.proto.remote_execution_pb2 import ActionResult, Command, ExecuteRequest, Tree
from rpc.actions import action_blobs, execute, shell, upload
from rpc.helpers import Client, Server, digest_of, refusal, serving

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(sys.platform != "linux", reason="sandboxes exist for Linux only"),
]


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=[sandbox_levels.SLOTS, sandbox_levels.BUBBLEWRAP, sandbox_levels.PROCESS_GROUP],
)
async def worker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    if request.param == sandbox_levels.BUBBLEWRAP and shutil.which("bwrap") is None:
        pytest.skip("bubblewrap isn't installed")
    data = tmp_path_factory.mktemp("data")
    async with serving(data, "grpcio", execution="on", sandbox=request.param) as running:
        yield running


@pytest.fixture
def client(worker: Server) -> Client:
    return worker.client


async def result_of(client: Client, script: str, **command: Any) -> ActionResult:
    """What becomes of a script, which must succeed."""
    result = (await execute(client, await shell(client, script, **command))).result
    assert result.exit_code == 0, await client.download(result.stderr_digest)
    return result


async def files(client: Client, result: ActionResult) -> dict[str, bytes]:
    return {file.path: await client.download(file.digest) for file in result.output_files}


async def names_in(client: Client, result: ActionResult) -> dict[str, set[str]]:
    """The names directly in each output directory."""
    found = {}
    for entry in result.output_directories:
        root = Tree.FromString(await client.download(entry.tree_digest)).root
        found[entry.path] = {node.name for node in (*root.files, *root.directories)}
    return found


@pytest.mark.parametrize("directory", ["", ".", "./", "a/..", "b/c", "./b//c/", "b/../b/c"])
async def test_a_working_directory_may_be_spelt_in_any_way(client: Client, directory: str) -> None:
    script = "echo $(basename $(pwd)) >a.o"
    result = await result_of(client, script, working_directory=directory, outputs=["a.o", "./a.o"])
    found = await files(client, result)
    assert set(found) == {"a.o", "./a.o"}
    expected = b"c\n" if "c" in directory else found["a.o"]
    assert set(found.values()) == {expected}


async def test_outputs_beside_the_working_directory_come_back_as_they_were_spelt(
    client: Client,
) -> None:
    spelt = ["../obj/a.o", "../obj/./a.o", "../../top", "here/", ".//here", "x/../here"]
    script = "echo a >../obj/a.o; echo top >../../top; echo here >here"
    result = await result_of(client, script, working_directory="out/Default", outputs=spelt)
    assert await files(client, result) == dict(
        zip(spelt, [b"a\n", b"a\n", b"top\n", *[b"here\n"] * 3], strict=True)
    )


async def test_the_older_fields_for_outputs_may_climb_too(client: Client) -> None:
    result = await result_of(
        client,
        "echo x >../obj/a.o; mkdir -p ../lib/sub; ln -s a.o ../obj/link",
        working_directory="build",
        output_files=["../obj/a.o", "../obj/link", "absent"],
        output_directories=["../lib/", "./.."],
    )
    assert await files(client, result) == {"../obj/a.o": b"x\n"}
    assert [link.path for link in result.output_file_symlinks] == ["../obj/link"]
    assert await names_in(client, result) == {"../lib/": {"sub"}, "./..": {"build", "lib", "obj"}}


@pytest.mark.parametrize("whole", ["", ".", "./", "x/.."])
async def test_the_working_directory_itself_may_be_an_output(client: Client, whole: str) -> None:
    script = "echo 1 >one; mkdir two"
    newer = await result_of(client, script, working_directory="w/d", outputs=[whole, "./one"])
    older = await result_of(
        client, script, working_directory="w/d", output_directories=[whole], output_files=["one"]
    )
    for result in (newer, older):
        assert await names_in(client, result) == {whole: {"one", "two"}}


async def test_an_output_may_contain_another_one(client: Client) -> None:
    result = await result_of(client, "echo 1 >d/e/f", outputs=["d", "d/e", "./d/e/f", "d/e/../e/f"])
    assert await names_in(client, result) == {"d": {"e"}, "d/e": {"f"}}
    assert await files(client, result) == {"./d/e/f": b"1\n", "d/e/../e/f": b"1\n"}


async def test_only_names_count_and_a_symlink_on_the_way_is_not_followed_out(
    client: Client,
) -> None:
    script = "mkdir inner; ln -s /etc/.. away; echo right >file; echo secret >inner/file"
    result = await result_of(client, script, outputs=["away/../file", "inner/../file"])
    assert await files(client, result) == {"away/../file": b"right\n", "inner/../file": b"right\n"}
    action = await shell(client, "rmdir away; ln -s /etc away", outputs=["./away/passwd"])
    response = (await execute(client, action)).response
    assert response.status.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
    assert "'./away/passwd'" in response.status.message


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ({"working_directory": "../w"}, ["working directory", "'../w'", "leads out"]),
        ({"working_directory": "w/../.."}, ["working directory", "leads out"]),
        ({"working_directory": "/w"}, ["working directory", "absolute"]),
        ({"output_paths": ["../a"]}, ["'../a'", "leads out"]),
        ({"output_paths": ["a/../../a"]}, ["leads out"]),
        ({"output_files": ["../../a"], "working_directory": "w"}, ["'../../a'", "leads out"]),
        ({"output_directories": ["../.."], "working_directory": "w"}, ["'../..'", "leads out"]),
        ({"output_paths": ["/"]}, ["'/'", "absolute", "'.'"]),
        ({"output_files": ["."]}, ["'.'", "working directory itself"]),
        ({"output_files": [".."], "working_directory": "w"}, ["'..'", "working directory itself"]),
    ],
)
async def test_what_leaves_the_input_root_is_refused(
    client: Client, command: dict[str, Any], words: Sequence[str]
) -> None:
    action, blobs = action_blobs(Command(arguments=["true"], **command))
    await upload(client, blobs)
    stream = client.Execute(ExecuteRequest(action_digest=digest_of(action)))
    await refusal(stream, grpc.StatusCode.INVALID_ARGUMENT, *words)


@pytest.mark.parametrize("field", ["output_paths", "working_directory"])
async def test_what_is_too_deep_is_refused(client: Client, field: str) -> None:
    path = "x/" * 1900
    command = {field: [path] if field == "output_paths" else path}
    action, blobs = action_blobs(Command(arguments=["true"], **command))
    await upload(client, blobs)
    stream = client.Execute(ExecuteRequest(action_digest=digest_of(action)))
    await refusal(stream, grpc.StatusCode.INVALID_ARGUMENT, "levels deep")
