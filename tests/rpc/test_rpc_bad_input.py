"""A caller's mistake is answered with what is wrong and a code that no client retries."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from reapi_local.proto.bytestream_pb2 import (
    QueryWriteStatusRequest,
    ReadRequest,
    WriteRequest,
)
from reapi_local.proto.remote_execution_pb2 import (
    ActionResult,
    BatchReadBlobsRequest,
    BatchUpdateBlobsRequest,
    Command,
    Compressor,
    Digest,
    Directory,
    ExecuteRequest,
    FindMissingBlobsRequest,
    GetActionResultRequest,
    GetCapabilitiesRequest,
    GetTreeRequest,
    SpliceBlobRequest,
    SplitBlobRequest,
    Tree,
    UpdateActionResultRequest,
    WaitExecutionRequest,
)
from rpc.actions import action_blobs, make, upload
from rpc.helpers import (
    OFFERED,
    Client,
    blob_name,
    consume,
    digest_of,
    pieces,
    refusal,
    serving,
    upload_name,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

INVALID = grpc.StatusCode.INVALID_ARGUMENT
UUID = "5e9ba9c5-6f5c-4a9a-9b0e-0d6c1d2f3a4b"
A = digest_of(b"a")
"""Of a blob that no test stores."""
GOOD = digest_of(b"good")

BAD_DIGESTS = {
    "unset": Digest(),
    "short": Digest(hash=A.hash[:-1], size_bytes=1),
    "long": Digest(hash=A.hash + "0", size_bytes=1),
    "upper-case": Digest(hash=A.hash.upper(), size_bytes=1),
    "white-space": Digest(hash=" " + A.hash[1:], size_bytes=1),
    "white-space-inside": Digest(hash=A.hash[:10] + "  " + A.hash[12:], size_bytes=1),
    "not-hexadecimal": Digest(hash="g" + A.hash[1:], size_bytes=1),
    "a-path": Digest(hash=("../" * 22)[:64], size_bytes=1),
    "other-digits": Digest(hash="٣" * 64, size_bytes=1),
    "unknown-size": Digest(hash=A.hash, size_bytes=-1),
    "negative-size": Digest(hash=A.hash, size_bytes=-2),
}


@pytest.mark.parametrize("digest", BAD_DIGESTS.values(), ids=BAD_DIGESTS)
async def test_a_malformed_digest_is_refused_by_every_method(
    client: Client, digest: Digest
) -> None:
    what = str(digest.size_bytes) if digest.size_bytes < 0 else "hexadecimal"
    await refusal(
        client.FindMissingBlobs(FindMissingBlobsRequest(blob_digests=[A, digest])), INVALID, what
    )
    await refusal(client.BatchReadBlobs(BatchReadBlobsRequest(digests=[A, digest])), INVALID, what)
    await refusal(client.GetTree(GetTreeRequest(root_digest=digest)), INVALID, what)
    if digest.size_bytes == -1:
        return  # an action may have an unknown size
    await refusal(
        client.GetActionResult(GetActionResultRequest(action_digest=digest)), INVALID, what
    )
    update = UpdateActionResultRequest(action_digest=digest, action_result=ActionResult())
    await refusal(client.UpdateActionResult(update), INVALID, what)


@pytest.mark.parametrize("digest", BAD_DIGESTS.values(), ids=BAD_DIGESTS)
async def test_a_malformed_digest_in_a_batch_fails_alone(client: Client, digest: Digest) -> None:
    requests = [{"digest": digest, "data": b"a"}, {"digest": GOOD, "data": b"good"}]
    response = await client.BatchUpdateBlobs(BatchUpdateBlobsRequest(requests=requests))
    bad, good = response.responses
    assert (bad.digest, bad.status.code) == (digest, INVALID.value[0])
    assert bad.status.message
    assert (good.digest, good.status.code) == (GOOD, 0)
    assert await client.missing(GOOD) == []


@pytest.mark.parametrize("digest", BAD_DIGESTS.values(), ids=BAD_DIGESTS)
async def test_a_malformed_digest_in_a_result_is_refused(client: Client, digest: Digest) -> None:
    results: list[dict[str, Any]] = [
        {"output_files": [{"path": "f", "digest": digest}]},
        {"output_directories": [{"path": "d", "tree_digest": digest}]},
        {"output_directories": [{"path": "d", "root_directory_digest": digest}]},
        {"stdout_digest": digest},
        {"stderr_digest": digest},
    ]
    for result in results:
        await refusal(_update(client, ActionResult(**result)), INVALID)
    await refusal(
        client.GetActionResult(GetActionResultRequest(action_digest=A)),
        grpc.StatusCode.NOT_FOUND,
        A.hash,
    )


@pytest.mark.parametrize("wrong", [b"b", b"", b"ab"], ids=["hash", "too-little", "too-much"])
async def test_content_that_is_not_what_its_digest_names_is_refused(
    client: Client, wrong: bytes
) -> None:
    request = BatchUpdateBlobsRequest(requests=[{"digest": A, "data": wrong}])
    [answer] = (await client.BatchUpdateBlobs(request)).responses
    assert answer.status.code == INVALID.value[0]
    assert A.hash in answer.status.message
    await refusal(client.Write(pieces(upload_name(A), wrong)), INVALID, A.hash)
    assert await client.missing(A) == [A]


async def test_content_that_differs_is_refused_even_when_the_blob_is_there(client: Client) -> None:
    await client.upload(b"good")
    request = BatchUpdateBlobsRequest(requests=[{"digest": GOOD, "data": b"b"}])
    [answer] = (await client.BatchUpdateBlobs(request)).responses
    assert answer.status.code == INVALID.value[0]
    assert await client.download(GOOD) == b"good"


@pytest.mark.parametrize("number", [2, 3, 4, 7, 8, 99])
async def test_a_digest_function_that_is_not_offered_is_refused_with_those_that_are(
    client: Client, number: int
) -> None:
    words = (str(number), "SHA256", "BLAKE3")
    calls = [
        client.FindMissingBlobs(FindMissingBlobsRequest(blob_digests=[A], digest_function=number)),
        client.BatchReadBlobs(BatchReadBlobsRequest(digests=[A], digest_function=number)),
        client.GetTree(GetTreeRequest(root_digest=A, digest_function=number)),
        client.GetActionResult(GetActionResultRequest(action_digest=A, digest_function=number)),
        client.UpdateActionResult(
            UpdateActionResultRequest(
                action_digest=A, action_result=ActionResult(), digest_function=number
            )
        ),
    ]
    for call in calls:
        await refusal(call, INVALID, *words)


async def test_a_hash_of_another_function_than_the_request_names_is_refused(client: Client) -> None:
    request = FindMissingBlobsRequest(blob_digests=[A], digest_function=5)
    await refusal(client.FindMissingBlobs(request), INVALID, A.hash, "SHA384", "96")


BAD_NAMES = {
    "empty": "",
    "slash": "/",
    "no-word": "hello",
    "no-digest": "blobs",
    "no-size": f"blobs/{A.hash}",
    "empty-size": f"blobs/{A.hash}/",
    "negative-size": f"blobs/{A.hash}/-1",
    "signed-size": f"blobs/{A.hash}/+1",
    "size-with-underscore": f"blobs/{A.hash}/1_0",
    "size-of-other-digits": f"blobs/{A.hash}/٣",
    "size-over-64-bits": f"blobs/{A.hash}/{1 << 63}",
    "size-without-end": f"blobs/{A.hash}/{'9' * 5000}",
    "short-hash": f"blobs/{A.hash[1:]}/1",
    "upper-case-hash": f"blobs/{A.hash.upper()}/1",
    "hash-that-climbs": "blobs/../../etc/passwd/1",
    "unknown-function": f"blobs/sha1/{A.hash}/1",
    "function-of-other-length": f"blobs/sha512/{A.hash}/1",
    "empty-segment": f"a//blobs/{A.hash}/1",
    "reserved-word": f"actions/blobs/{A.hash}/1",
    "control-character": f"a\n/blobs/{A.hash}/1",
    "long-instance": f"{'x' * 256}/blobs/{A.hash}/1",
}


@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES)
async def test_a_wrong_resource_name_is_refused(client: Client, name: str) -> None:
    await refusal(client.Read(ReadRequest(resource_name=name)), INVALID)
    written = name.replace("blobs", f"uploads/{UUID}/blobs")
    await refusal(client.Write(pieces(written, b"a")), INVALID)
    query = QueryWriteStatusRequest(resource_name=written)
    await refusal(client.QueryWriteStatus(query), INVALID)


async def test_the_name_of_an_upload_is_not_the_name_of_a_blob(client: Client) -> None:
    await refusal(client.Read(ReadRequest(resource_name=upload_name(A))), INVALID, "blobs/")
    await refusal(client.Read(ReadRequest(resource_name=f"{blob_name(A)}/x")), INVALID, "'x'")
    await refusal(client.Write(pieces(blob_name(A), b"a")), INVALID, "uploads/{uuid}/")
    await refusal(
        client.Write(pieces(f"uploads//{blob_name(A)}", b"a")), INVALID, "uploads/{uuid}/"
    )
    assert await client.missing(A) == [A]


async def test_an_upload_whose_identifier_is_endless_is_refused(client: Client) -> None:
    """The server remembers the names of uploads that broke off."""
    digest = digest_of(b"identified")
    name = upload_name(digest, upload="x" * 100_000)
    await refusal(client.Write(pieces(name, b"a")), INVALID, "255")
    await refusal(client.QueryWriteStatus(QueryWriteStatusRequest(resource_name=name)), INVALID)
    fits = upload_name(digest, upload="x" * 255)
    assert (await client.Write(pieces(fits, b"identified"))).committed_size == 10


async def test_another_compressor_is_refused_with_what_to_do(client: Client) -> None:
    for name in ("deflate", "brotli", "identity", "ZSTD", A.hash):
        other = f"compressed-blobs/{name}/{A.hash}/1"
        await refusal(client.Read(ReadRequest(resource_name=other)), INVALID, "zstd")
        await refusal(client.Write(pieces(f"uploads/{UUID}/{other}", b"a")), INVALID, "zstd")
    for number in (Compressor.DEFLATE, Compressor.BROTLI, 99):
        item = {"digest": A, "data": b"a", "compressor": number}
        request = BatchUpdateBlobsRequest(requests=[item])
        [answer] = (await client.BatchUpdateBlobs(request)).responses
        assert answer.status.code == INVALID.value[0]
        assert A.hash in answer.status.message
        assert "ZSTD" in answer.status.message
    assert await client.missing(A) == [A]


async def test_a_batch_over_the_announced_limit_is_refused(client: Client) -> None:
    capabilities = await client.GetCapabilities(GetCapabilitiesRequest())
    limit = capabilities.cache_capabilities.max_batch_total_size_bytes
    data = b"x" * (limit + 1)
    item = {"digest": digest_of(data), "data": data}
    update = BatchUpdateBlobsRequest(requests=[item])
    await refusal(client.BatchUpdateBlobs(update), INVALID, str(limit), "ByteStream")
    read = BatchReadBlobsRequest(digests=[digest_of(data)])
    await refusal(client.BatchReadBlobs(read), INVALID, str(limit), "ByteStream")
    item = {"digest": digest_of(data[1:]), "data": data[1:]}
    [answer] = (await client.BatchUpdateBlobs(BatchUpdateBlobsRequest(requests=[item]))).responses
    assert answer.status.code == 0


@pytest.mark.parametrize("token", ["x", "-1", "1.5", "٣", " 1", "9" * 19, "9" * 5000])
async def test_a_page_token_the_server_did_not_give_is_refused(client: Client, token: str) -> None:
    request = GetTreeRequest(root_digest=digest_of(b""), page_token=token)
    await refusal(client.GetTree(request), INVALID, "page_token")


async def test_a_negative_page_size_is_refused(client: Client) -> None:
    request = GetTreeRequest(root_digest=digest_of(b""), page_size=-1)
    await refusal(client.GetTree(request), INVALID, "page_size", "-1")


async def test_a_tree_of_something_else_is_refused(client: Client) -> None:
    root = await client.upload(b"\xff\xff not a Directory")
    await refusal(client.GetTree(GetTreeRequest(root_digest=root)), INVALID, root.hash)


async def test_a_directory_entry_that_climbs_is_refused(client: Client) -> None:
    for name in ("..", ".", "", "a/b", "a\0b"):
        directory = b"\x0a" + bytes((len(name) + 2, 0x0A, len(name))) + name.encode()
        root = await client.upload(directory)
        await refusal(client.GetTree(GetTreeRequest(root_digest=root)), INVALID, root.hash)


async def test_directories_nested_too_deep_to_decode_are_refused(client: Client) -> None:
    nested = b""
    for _ in range(5000):
        nested = b"\x83\x01" + nested + b"\x84\x01"  # an unknown group within a group
    root = await client.upload(nested)
    await refusal(client.GetTree(GetTreeRequest(root_digest=root)), INVALID, root.hash)
    await refusal(client.FindMissingBlobs(nested), INVALID, "decoded")


PLACES = [
    "output_files",
    "output_directories",
    "output_symlinks",
    "output_file_symlinks",
    "output_directory_symlinks",
]


EMPTY_TREE = Tree(root=Directory()).SerializeToString()


def _result(place: str, path: str) -> ActionResult:
    """A result with one output, which is empty. That of a directory is a hit after an upload."""
    entry = {
        "output_files": {"digest": digest_of(b"")},
        "output_directories": {"tree_digest": digest_of(EMPTY_TREE)},
    }.get(place, {"target": "x"})
    return ActionResult(**{place: [{"path": path, **entry}]})


@pytest.mark.parametrize("place", PLACES)
async def test_a_result_whose_paths_no_working_directory_makes_right_is_refused(
    client: Client, place: str
) -> None:
    for path in ("/etc/passwd", "//a", "a\0b"):
        details = await refusal(_update(client, _result(place, path)), INVALID)
        assert repr(path) in details
    await refusal(
        client.GetActionResult(GetActionResultRequest(action_digest=A)), grpc.StatusCode.NOT_FOUND
    )


@pytest.mark.parametrize("place", PLACES)
async def test_a_result_may_climb_as_far_as_the_working_directory_of_its_action_allows(
    client: Client, place: str
) -> None:
    await client.upload(EMPTY_TREE)
    digest = await make(client, "true", outputs=[place], working_directory="build/./x")
    for path in ("../lib/out.o", "./out.o", "out//a/", "../../a"):
        await _update(client, _result(place, path), digest)
        stored = await client.GetActionResult(GetActionResultRequest(action_digest=digest))
        assert [entry.path for entry in getattr(stored, place)] == [path]
    for path in ("../../../a", "../../..", "../x/../../../a"):
        details = await refusal(_update(client, _result(place, path), digest), INVALID)
        assert repr(path) in details
        assert "leads out of the input root" in details


@pytest.mark.parametrize("place", PLACES)
async def test_what_contains_the_working_directory_is_no_output_file_of_a_result(
    client: Client, place: str
) -> None:
    digest = await make(client, "true", "around", outputs=[place], working_directory="w/v")
    for path in ("..", "../..", "../../w"):
        update = _update(client, _result(place, path), digest)
        if place == "output_directories":
            await update
        else:
            await refusal(update, INVALID, repr(path), "the working directory itself")


async def test_a_result_that_climbs_may_come_before_its_action(client: Client) -> None:
    action, blobs = action_blobs(Command(arguments=["late"], working_directory="w"))
    digest = digest_of(action)
    await upload(client, blobs[:1])  # the action without its command
    for path in ("../a", "../../a"):
        await _update(client, _result("output_files", path), digest)
    await upload(client, blobs)
    await _update(client, _result("output_files", "../a"), digest)
    await refusal(_update(client, _result("output_files", "../../a"), digest), INVALID, "leads out")


async def test_an_update_without_a_result_is_refused(client: Client) -> None:
    call = client.UpdateActionResult(UpdateActionResultRequest(action_digest=A))
    await refusal(call, INVALID, A.hash, "action_result")


async def test_an_output_directory_without_a_digest_is_refused(client: Client) -> None:
    result = ActionResult(output_directories=[{"path": "d"}])
    await refusal(_update(client, result), INVALID, "'d'", "digest")


BAD_INSTANCES = {
    "reserved-word": "a/blobs/b",
    "only-a-reserved-word": "uploads",
    "empty-segment": "a//b",
    "leading-slash": "/a",
    "trailing-slash": "a/",
    "line-break": "a\nb",
    "nul": "a\0b",
    "direction-override": "a\u202eb",
    "too-long": "ä" * 128,
}


@pytest.mark.parametrize("name", BAD_INSTANCES.values(), ids=BAD_INSTANCES)
async def test_what_can_not_be_an_instance_name_is_refused_by_every_method(
    client: Client, name: str
) -> None:
    for call in _requests_of(client, name):
        await refusal(call, INVALID, "instance name")


async def test_an_instance_that_is_not_listed_is_refused_with_those_that_are(
    tmp_path: Any, transport: str
) -> None:
    async with serving(tmp_path, transport, instances=("main", "team/two")) as server:
        client = server.client
        calls = [
            *_requests_of(client, "other"),
            client.Read(ReadRequest(resource_name=blob_name(A, "other"))),
            client.Write(pieces(upload_name(A, "other"), b"a")),
            client.QueryWriteStatus(QueryWriteStatusRequest(resource_name=upload_name(A, "other"))),
        ]
        for call in calls:
            await refusal(call, INVALID, "'other'", "main", "team/two")
        await refusal(client.GetCapabilities(GetCapabilitiesRequest()), INVALID, "''")
        for listed in ("main", "team/two"):
            await client.GetCapabilities(GetCapabilitiesRequest(instance_name=listed))
        assert (await server.status())["instances"] == ["main", "team/two"]


@pytest.mark.parametrize(
    "garbage",
    [b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x02\xff\xfe", b"\xff" * 100],
    ids=["length-beyond-the-end", "not-utf-8", "endless-varint"],
)
async def test_bytes_that_are_no_message_are_refused_by_every_method(
    client: Client, garbage: bytes
) -> None:
    for name in OFFERED:
        call = getattr(client, name)(iter([garbage]) if name == "Write" else garbage)
        await refusal(call, INVALID)


async def test_garbage_in_the_middle_of_an_upload_is_refused(client: Client) -> None:
    first = WriteRequest(resource_name=upload_name(A), data=b"")
    await refusal(client.Write(iter([first, b"\xff\xff"])), INVALID, "decoded")
    assert await client.missing(A) == [A]


@pytest.mark.parametrize("character", ["a", "ä", "\n", "\U0001f600"])
async def test_a_message_about_something_huge_still_reaches_the_client(
    client: Client, character: str
) -> None:
    request = FindMissingBlobsRequest(blob_digests=[Digest(hash=character * 100_000)])
    assert len(await refusal(client.FindMissingBlobs(request), INVALID, "lower-case")) < 1000
    result = ActionResult(output_files=[{"path": "/" + character * 100_000, "digest": A}])
    await refusal(_update(client, result), INVALID, "absolute")


async def test_methods_that_are_not_offered_say_so(client: Client) -> None:
    calls = [
        client.SplitBlob(SplitBlobRequest(blob_digest=A)),
        client.SpliceBlob(SpliceBlobRequest(blob_digest=A)),
        client.Execute(ExecuteRequest(action_digest=A)),
        client.WaitExecution(WaitExecutionRequest(name="x")),
    ]
    for call in calls:
        await refusal(call, grpc.StatusCode.UNIMPLEMENTED)


async def test_an_empty_upload_stream_is_refused(client: Client) -> None:
    await refusal(client.Write(iter(())), INVALID, "first message")


async def test_empty_batches_are_fine(client: Client) -> None:
    assert not (await client.BatchReadBlobs(BatchReadBlobsRequest())).responses
    assert not (await client.BatchUpdateBlobs(BatchUpdateBlobsRequest())).responses
    assert await client.missing() == []


async def test_unknown_fields_are_ignored(client: Client) -> None:
    serialized = FindMissingBlobsRequest(blob_digests=[A]).SerializeToString() + b"\xa2\x06\x01x"
    [response] = await consume(client.FindMissingBlobs(serialized))
    assert list(response.missing_blob_digests) == [A]


def _update(client: Client, result: ActionResult, action: Digest = A) -> Any:
    return client.UpdateActionResult(
        UpdateActionResultRequest(action_digest=action, action_result=result)
    )


def _requests_of(client: Client, instance: str) -> list[Any]:
    result = ActionResult()
    return [
        client.GetCapabilities(GetCapabilitiesRequest(instance_name=instance)),
        client.FindMissingBlobs(FindMissingBlobsRequest(instance_name=instance)),
        client.BatchUpdateBlobs(BatchUpdateBlobsRequest(instance_name=instance)),
        client.BatchReadBlobs(BatchReadBlobsRequest(instance_name=instance)),
        client.GetTree(GetTreeRequest(instance_name=instance, root_digest=A)),
        client.GetActionResult(GetActionResultRequest(instance_name=instance, action_digest=A)),
        client.UpdateActionResult(
            UpdateActionResultRequest(instance_name=instance, action_digest=A, action_result=result)
        ),
    ]
