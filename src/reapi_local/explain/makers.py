"""Which process made a file: from the results of the actions of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from google.protobuf.message import DecodeError

from reapi_local.access.principal import OWNER
from reapi_local.context import Context
from reapi_local.errors import InvalidRequest
from reapi_local.explain.root_causes import Makers, Output
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, function_for, parse_digest, parse_digest_text
from reapi_local.protocol.lookup import Hit
from reapi_local.store.action_cache import ActionCache
from reapi_local.store.blob_store import BlobStore
from reapi_local.threads import in_thread_if_long

_MOST_ACTIONS: Final = 500
_MAX_TREE_BYTES: Final = 4 * 1024 * 1024
_MAX_BYTES: Final = 16 * 1024 * 1024
"""Of all Trees: their files are kept in memory."""


async def makers(
    results: ActionCache, blobs: BlobStore, instance: str, actions: Mapping[str, str]
) -> Makers:
    """What the processes with these actions made; of what was evicted nothing is known.

    ``actions``: the digests of actions by span.
    """
    context = Context(OWNER, instance, b"")
    made: dict[str, list[Output]] = {}
    outputs: dict[str, tuple[str, ...]] = {}
    room = _MAX_BYTES
    for span, action in [*actions.items()][:_MOST_ACTIONS]:
        outcome = await results.get(context, _digest(action))
        if not isinstance(outcome, Hit):
            continue
        directories = outcome.result.output_directories
        found = [(file.path, file.digest) for file in outcome.result.output_files]
        outputs[span] = (*(path for path, _ in found), *(one.path for one in directories))
        for one in directories:
            body = await _read(context, blobs, one.tree_digest, min(room, _MAX_TREE_BYTES))
            if body is not None:
                room -= len(body)
                files = await in_thread_if_long(len(body), _files, body)
                found += [(one.path, digest) for digest in files]
        for path, digest in found:
            if digest.size_bytes:
                made.setdefault(f"{digest.hash}/{digest.size_bytes}", []).append((span, path))
    return Makers(made, outputs)


async def _read(
    context: Context, blobs: BlobStore, tree: re_pb2.Digest, max_bytes: int
) -> bytes | None:
    """A Tree; None if it isn't there, or is larger."""
    try:
        digest = parse_digest(tree)
    except InvalidRequest:
        return None
    if digest.size_bytes > max_bytes:
        return None
    return dict(await blobs.read_many(context, [digest])).get(digest)


def _files(tree: bytes) -> list[re_pb2.Digest]:
    try:
        parsed = re_pb2.Tree.FromString(tree)
    except DecodeError:
        return []
    return [file.digest for one in (parsed.root, *parsed.children) for file in one.files]


def _digest(text: str) -> Digest:
    hash_hex, _, size = text.partition("/")
    return parse_digest_text(function_for(0, hash_hex), hash_hex, int(size))
