"""Contents within action results: what a writer puts there can be read as a blob as well."""

from __future__ import annotations

import os
from typing import Any

import grpc
import pytest

from reapi_local.proto.remote_execution_pb2 import (
    ActionResult,
    Digest,
    GetActionResultRequest,
    UpdateActionResultRequest,
)
from rpc.helpers import MIB, Client, Server, digest_of, refusal

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def action() -> Digest:
    return digest_of(os.urandom(16))


async def put(client: Client, action: Digest, result: ActionResult) -> ActionResult:
    request = UpdateActionResultRequest(action_digest=action, action_result=result)
    stored: ActionResult = await client.UpdateActionResult(request)
    return stored


async def get(client: Client, action: Digest, **more: Any) -> ActionResult:
    found: ActionResult = await client.GetActionResult(
        GetActionResultRequest(action_digest=action, **more)
    )
    return found


def file(path: str, data: bytes, **more: Any) -> dict[str, Any]:
    return {"path": path, "digest": digest_of(data), **more}


async def test_contents_within_a_result_can_be_read_as_blobs(
    client: Client, action: Digest
) -> None:
    out, err, text = (os.urandom(10) for _ in range(3))
    result = ActionResult(
        output_files=[file("f", text, contents=text)],
        stdout_raw=out,
        stdout_digest=digest_of(out),
        stderr_raw=err,
    )
    assert await put(client, action, result) == result
    assert await get(client, action) == result
    for data in (out, err, text):
        assert await client.download(digest_of(data)) == data


async def test_a_file_with_its_contents_alone_gets_its_digest(
    client: Client, action: Digest
) -> None:
    text = os.urandom(10)
    await put(client, action, ActionResult(output_files=[{"path": "f", "contents": text}]))
    [output] = (await get(client, action)).output_files
    assert (output.digest, output.contents) == (digest_of(text), text)
    assert await client.download(output.digest) == text


@pytest.mark.parametrize(
    ("place", "result"),
    [
        ("stdout_raw", {"stdout_raw": b"x", "stdout_digest": digest_of(b"y")}),
        ("stderr_raw", {"stderr_raw": b"x", "stderr_digest": digest_of(b"xx")}),
        ("'a/f'", {"output_files": [file("a/f", b"y", contents=b"x")]}),
        (
            "'second'",
            {"output_files": [file("f", b"x", contents=b"x"), file("second", b"x", contents=b"y")]},
        ),
    ],
    ids=["stdout", "stderr", "file", "one-digest-twice"],
)
async def test_contents_without_the_digest_that_is_given_are_refused(
    client: Client, action: Digest, place: str, result: dict[str, Any]
) -> None:
    update = UpdateActionResultRequest(action_digest=action, action_result=ActionResult(**result))
    await refusal(client.UpdateActionResult(update), grpc.StatusCode.INVALID_ARGUMENT, place)
    request = GetActionResultRequest(action_digest=action)
    await refusal(client.GetActionResult(request), grpc.StatusCode.NOT_FOUND)


async def test_contents_that_would_make_a_long_message_become_blobs_alone(
    shared_server: Server, action: Digest
) -> None:
    usual = shared_server.connect(options=(("grpc.max_receive_message_length", 4 * MIB),))
    out, text = os.urandom(3 * MIB), os.urandom(2 * MIB)
    result = ActionResult(
        stdout_raw=out, output_files=[file("f", text, contents=text)], stderr_raw=b"e"
    )
    assert await put(usual, action, result) == await get(usual, action)
    found = await get(usual, action)
    assert (found.stdout_raw, found.output_files[0].contents) == (b"", b"")
    assert (found.stdout_digest, found.stderr_digest) == (digest_of(out), digest_of(b"e"))
    for data in (out, text, b"e"):
        assert await usual.download(digest_of(data)) == data


async def test_a_reader_gets_the_contents_that_it_asks_for(client: Client, action: Digest) -> None:
    out, err, text, other = [await client.upload(os.urandom(10)) for _ in range(4)]
    result = ActionResult(
        stdout_digest=out,
        stderr_digest=err,
        output_files=[{"path": "f", "digest": text}, {"path": "g", "digest": other}],
    )
    await put(client, action, result)
    assert await get(client, action) == result
    found = await get(client, action, inline_stdout=True, inline_output_files=["f", "absent"])
    assert found.stdout_raw == await client.download(out)
    assert found.stderr_raw == b""
    contents = [output.contents for output in found.output_files]
    assert contents == [await client.download(text), b""]
    found = await get(client, action, inline_stderr=True)
    assert (found.stdout_raw, found.stderr_raw) == (b"", await client.download(err))
    assert found.stdout_digest == out


async def test_contents_that_do_not_fit_are_left_out(shared_server: Server, action: Digest) -> None:
    """A long result, and a content that is short enough for others."""
    usual = shared_server.connect(options=(("grpc.max_receive_message_length", 4 * MIB),))
    out = await usual.upload(os.urandom(500_000))
    targets = [{"path": f"{number}", "target": "x" * 1000} for number in range(3700)]
    result = ActionResult(stdout_digest=out, output_symlinks=targets)
    assert 3.5 * MIB < result.ByteSize() < 4 * MIB
    await put(usual, action, result)
    assert (await get(usual, action, inline_stdout=True)) == result
