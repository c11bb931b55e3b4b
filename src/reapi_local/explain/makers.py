"""Which action made a file: from the results of the actions of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from google.protobuf.message import DecodeError

from reapi_local.access.principal import OWNER
from reapi_local.context import Context
from reapi_local.errors import InvalidRequest
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, function_for, parse_digest, parse_digest_text
from reapi_local.protocol.lookup import Hit
from reapi_local.store.action_cache import ActionCache
from reapi_local.store.blob_store import BlobStore

_MOST_ACTIONS: Final = 500
_MAX_TREE_BYTES: Final = 4 * 1024 * 1024


async def makers(
    results: ActionCache, blobs: BlobStore, instance: str, actions: Mapping[str, str]
) -> dict[str, str]:
    """From the digest of each file, "HASH/SIZE", to the span whose process made it.

    ``actions``: the digests of actions by span. Of what was evicted nothing is known.
    """
    context = Context(OWNER, instance, b"")
    made: dict[str, str] = {}
    for span, action in [*actions.items()][:_MOST_ACTIONS]:
        outcome = await results.get(context, _digest(action))
        if not isinstance(outcome, Hit):
            continue
        trees = [one.tree_digest for one in outcome.result.output_directories]
        found = [file.digest for file in outcome.result.output_files]
        for body in await _read(context, blobs, trees):
            found += _files(body)
        made.update({f"{one.hash}/{one.size_bytes}": span for one in found if one.size_bytes})
    return made


async def _read(context: Context, blobs: BlobStore, trees: Iterable[re_pb2.Digest]) -> list[bytes]:
    wanted = []
    for tree in trees:
        try:
            digest = parse_digest(tree)
        except InvalidRequest:
            continue
        if digest.size_bytes <= _MAX_TREE_BYTES:
            wanted.append(digest)
    return [*dict(await blobs.read_many(context, wanted)).values()] if wanted else []


def _files(tree: bytes) -> list[re_pb2.Digest]:
    try:
        parsed = re_pb2.Tree.FromString(tree)
    except DecodeError:
        return []
    return [file.digest for one in (parsed.root, *parsed.children) for file in one.files]


def _digest(text: str) -> Digest:
    hash_hex, _, size = text.partition("/")
    return parse_digest_text(function_for(0, hash_hex), hash_hex, int(size))
