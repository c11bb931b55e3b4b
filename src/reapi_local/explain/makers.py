"""Which process made a file: from the results of the actions of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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

_MOST_ACTIONS: Final = 500
_MAX_TREE_BYTES: Final = 4 * 1024 * 1024


async def makers(
    results: ActionCache, blobs: BlobStore, instance: str, actions: Mapping[str, str]
) -> Makers:
    """What the processes with these actions made; of what was evicted nothing is known.

    ``actions``: the digests of actions by span.
    """
    context = Context(OWNER, instance, b"")
    made: dict[str, list[Output]] = {}
    outputs: dict[str, tuple[str, ...]] = {}
    for span, action in [*actions.items()][:_MOST_ACTIONS]:
        outcome = await results.get(context, _digest(action))
        if not isinstance(outcome, Hit):
            continue
        result = outcome.result
        directories = result.output_directories
        found = [(file.path, file.digest) for file in result.output_files]
        outputs[span] = (*(path for path, _ in found), *(one.path for one in directories))
        trees = await _read(context, blobs, [one.tree_digest for one in directories])
        for directory in directories:
            files = _files(trees.get(directory.tree_digest.hash, b""))
            found += [(directory.path, digest) for digest in files]
        for path, digest in found:
            if digest.size_bytes:
                made.setdefault(f"{digest.hash}/{digest.size_bytes}", []).append((span, path))
    return Makers(made, outputs)


async def _read(
    context: Context, blobs: BlobStore, trees: Iterable[re_pb2.Digest]
) -> dict[str, bytes]:
    """The trees that are there and not too large, by their hashes."""
    wanted = []
    for tree in trees:
        try:
            digest = parse_digest(tree)
        except InvalidRequest:
            continue
        if digest.size_bytes <= _MAX_TREE_BYTES:
            wanted.append(digest)
    found = await blobs.read_many(context, wanted) if wanted else {}
    return {digest.hash_hex: body for digest, body in found.items()}


def _files(tree: bytes) -> list[re_pb2.Digest]:
    try:
        parsed = re_pb2.Tree.FromString(tree)
    except DecodeError:
        return []
    return [file.digest for one in (parsed.root, *parsed.children) for file in one.files]


def _digest(text: str) -> Digest:
    hash_hex, _, size = text.partition("/")
    return parse_digest_text(function_for(0, hash_hex), hash_hex, int(size))
