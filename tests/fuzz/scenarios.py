"""What a hostile client does: some calls, one after the other, that are about the same blobs."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import zstandard
from google.longrunning import operations_pb2
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from fuzz.hostile import (
    INSTANCES,
    INTEGERS,
    NAMES,
    digest_of,
    mangled,
    wild,
    wild_action,
    wild_command,
    wild_digest,
    wild_directory,
    wild_result,
    wild_tree,
)
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.proto.bytestream_pb2 import (
    QueryWriteStatusRequest,
    ReadRequest,
    WriteRequest,
)
from reapi_local.proto.remote_execution_pb2 import Digest, RequestMetadata, ToolDetails
from rpc.helpers import METHODS

METADATA = "build.bazel.remote.execution.v2.requestmetadata-bin"
PANTS = RequestMetadata(tool_details=ToolDetails(tool_name="pants")).SerializeToString()

STORED = (b"", b"good", b"x" * 300_000, re_pb2.Tree(root=re_pb2.Directory()).SerializeToString())
"""Blobs that the server has before the first scenario."""
KNOWN = tuple(map(digest_of, STORED))


@dataclass(frozen=True)
class Call:
    """A call with its encoded requests: only one, unless the method has a stream of them."""

    method: str
    requests: Sequence[bytes]
    headers: Sequence[tuple[str, str | bytes]] = ()


def scenario(random: Random) -> list[Call]:
    """The calls of one client."""
    return random.choice(_SCENARIOS)(random)


def resource_name(random: Random, digest: Digest, *, upload: bool) -> str:
    """A name of a blob or of an upload, in which some segment may be wrong."""
    blob = ["blobs", digest.hash, str(digest.size_bytes)]
    if random.random() < 0.2:
        blob[:1] = [
            "compressed-blobs",
            random.choice(("zstd", "zstd", "zstd", "deflate", "", "ZSTD")),
        ]
    if random.random() < 0.2:
        blob.insert(-2, random.choice(("sha256", "sha256", "blake3", "sha512", "sha1", "")))
    identifiers = (str(uuid.UUID(int=random.getrandbits(128))), "x", "x" * 300, "..", "\0")
    segments = ["uploads", random.choice(identifiers), *blob] if upload else blob
    if random.random() < 0.2:
        segments.insert(0, random.choice(INSTANCES))
    if random.random() < 0.2:
        segments.append(random.choice(NAMES))
    if random.random() < 0.2:
        at = random.randrange(len(segments))
        others = (*NAMES, "-1", "+1", "1_0", "٣", str(2**63), "9" * 400)
        segments[at] = random.choice(others)
    if random.random() < 0.05:
        del segments[random.randrange(len(segments))]
    return "/".join(segments)


def _any_call(random: Random) -> list[Call]:
    method = METHODS[random.choice(_NAMES)]
    request = wild(random, GetMessageClass(method.input_type), KNOWN)
    return [Call(method.name, [_encoded(random, request)], _headers(random))]


def _upload(random: Random) -> list[Call]:
    data = random.choice((*STORED, b"a" * random.randrange(200), random.randbytes(90_000)))
    digest = wild_digest(random, (digest_of(data),))
    name = resource_name(random, digest, upload=True)
    sent = zstandard.compress(data) if "zstd" in name else data
    if random.random() < 0.2:
        sent = mangled(random, sent)
    size = random.choice((1, 7, 1000, 64 * 1024, 10**6))
    size = max(size, len(sent) // 5)
    offsets = range(0, len(sent), size) or (0,)
    requests = [
        WriteRequest(
            resource_name=name if offset == 0 or random.random() < 0.5 else "",
            write_offset=offset,
            data=sent[offset : offset + size],
            finish_write=offset + size >= len(sent),
        )
        for offset in offsets
    ]
    if random.random() < 0.5:
        changed = random.choice(requests)
        random.choice(
            (
                lambda: setattr(changed, "write_offset", _signed(random)),
                lambda: setattr(changed, "finish_write", not changed.finish_write),
                lambda: setattr(
                    changed, "resource_name", resource_name(random, digest, upload=True)
                ),
                lambda: changed.ClearField("data"),
                lambda: requests.append(changed),
                requests.pop,
            )
        )()
    write = Call("Write", [_encoded(random, request) for request in requests])
    query = Call(
        "QueryWriteStatus", [QueryWriteStatusRequest(resource_name=name).SerializeToString()]
    )
    return [write, query, *([write, query] if random.random() < 0.3 else [])]


def _download(random: Random) -> list[Call]:
    name = resource_name(random, wild_digest(random, KNOWN), upload=False)
    request = ReadRequest(resource_name=name)
    if random.random() < 0.4:
        request.read_offset, request.read_limit = _signed(random), _signed(random)
    return [Call("Read", [_encoded(random, request)])]


def _tree(random: Random) -> list[Call]:
    tree = wild_tree(random, KNOWN)
    blobs = [child.SerializeToString(deterministic=True) for child in tree.children]
    blobs.append(tree.root.SerializeToString(deterministic=True))
    if random.random() < 0.1:
        blobs[-1] = mangled(random, blobs[-1])
    encoded = _encoded(random, tree)
    root, tree_digest = digest_of(blobs[-1]), digest_of(encoded)
    action = digest_of(random.randbytes(8))
    result = wild_result(random, (*KNOWN, root, tree_digest))
    result.output_directories.add(path="d", tree_digest=tree_digest)
    if random.random() < 0.5:
        result.output_directories[-1].root_directory_digest.CopyFrom(root)
    get_tree = re_pb2.GetTreeRequest(root_digest=root)
    if random.random() < 0.3:
        get_tree.page_size = _signed(random, 31)
        get_tree.page_token = random.choice((*NAMES, "0", "1", "9" * 18, "9" * 400, "٣", "-1"))
    update = re_pb2.UpdateActionResultRequest(action_digest=action, action_result=result)
    get = re_pb2.GetActionResultRequest(
        action_digest=action,
        inline_stdout=True,
        inline_stderr=True,
        inline_output_files=["a", "out", "\0"],
    )
    return [
        batch((*blobs, encoded)),
        Call("GetTree", [get_tree.SerializeToString()]),
        Call("UpdateActionResult", [_encoded(random, update)]),
        Call("GetActionResult", [get.SerializeToString()]),
    ]


def _execution(random: Random) -> list[Call]:
    root = _encoded(random, wild_directory(random, KNOWN))
    command = _encoded(random, wild_command(random))
    action = wild_action(random, digest_of(command), digest_of(root))
    encoded = _encoded(random, action)
    execute = re_pb2.ExecuteRequest(
        action_digest=digest_of(encoded),
        skip_cache_lookup=random.random() < 0.8,
        inline_stdout=True,
        inline_output_files=["out", "a"],
    )
    if random.random() < 0.1:
        execute.execution_policy.priority = _signed(random, 31)
        execute.instance_name = random.choice(INSTANCES)
    headers = [(METADATA, PANTS)] if random.random() < 0.4 else []
    return [
        batch((root, command, encoded)),
        Call("Execute", [execute.SerializeToString()], headers),
    ]


def _operations(random: Random) -> list[Call]:
    name = "/".join(random.choice((*NAMES, "operations")) for _ in range(random.randrange(4)))
    token = random.choice(("", *NAMES))
    listing = operations_pb2.ListOperationsRequest(
        name=random.choice((name, "", "operations")),
        page_size=_signed(random, 31),
        page_token=token,
        filter=random.choice(("", "", "", "x")),
    )
    return [
        Call("ListOperations", [listing.SerializeToString()]),
        Call("WaitExecution", [re_pb2.WaitExecutionRequest(name=name).SerializeToString()]),
        *(
            Call(method, [operations_pb2.GetOperationRequest(name=name).SerializeToString()])
            for method in ("GetOperation", "CancelOperation", "DeleteOperation")
        ),
    ]


def batch(blobs: Sequence[bytes]) -> Call:
    requests = [{"digest": digest_of(blob), "data": blob} for blob in blobs]
    request = re_pb2.BatchUpdateBlobsRequest(requests=requests)
    return Call("BatchUpdateBlobs", [request.SerializeToString()])


def _encoded(random: Random, message: Message) -> bytes:
    data = message.SerializeToString(deterministic=True)
    return mangled(random, data) if random.random() < 0.06 else data


def _headers(random: Random) -> list[tuple[str, str | bytes]]:
    if random.random() < 0.7:
        return []
    # Headers of more than 16 KiB are the transport's to refuse.
    metadata = wild(random, RequestMetadata).SerializeToString()[:8000]
    return [(METADATA, mangled(random, metadata) if random.random() < 0.5 else metadata)]


def _signed(random: Random, bits: int = 63) -> int:
    most = (1 << bits) - 1
    return min(max(random.choice(INTEGERS), -most - 1), most)


_NAMES = sorted(set(METHODS) - {"WaitOperation"})
_SCENARIOS: Sequence[Callable[[Random], list[Call]]] = (
    *(_any_call, _any_call, _any_call, _upload, _download, _tree, _execution, _operations),
)
