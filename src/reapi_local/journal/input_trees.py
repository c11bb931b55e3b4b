"""The Directories of an input tree that a reporter tells by its paths.

Source: REAPI v2, message ``Directory``: entries are sorted by name, so that equal directories have
equal digests.
"""

from __future__ import annotations

from collections.abc import Iterator

from reapi_contract.input_trees import InputTree
from reapi_local.errors import InvalidRequest
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import (
    Digest,
    digest_of,
    function_for,
    parse_digest_text,
)

_MAX_DEPTH = 200


class _Node:
    def __init__(self) -> None:
        self.message = re_pb2.Directory()
        self.below: dict[str, _Node] = {}


def parse_root(text: str) -> Digest:
    """The digest "HASH/SIZE". Raises InvalidRequest."""
    hash_hex, _, size = text.partition("/")
    if not (size.isascii() and size.isdigit()):
        raise InvalidRequest(f"{text[:100]!r} isn't a digest HASH/SIZE")
    return parse_digest_text(function_for(0, hash_hex), hash_hex, int(size))


def directories_of(tree: InputTree) -> dict[Digest, bytes]:
    """The Directories by their digests, the root among them.

    Raises InvalidRequest: a path or a digest is malformed, or the tree hasn't the digest that it
    is said to have.
    """
    root, top = parse_root(tree.root), _Node()
    for path, digest, is_executable in sorted(tree.files):
        node, name = _place(top, path)
        file = node.message.files.add(name=name, is_executable=is_executable)
        parsed = parse_root(digest)
        file.digest.hash, file.digest.size_bytes = parsed.hash_hex, parsed.size_bytes
    for path, target in sorted(tree.links):
        node, name = _place(top, path)
        node.message.symlinks.add(name=name, target=target)
    for path in tree.directories:
        _place(top, f"{path}/.")
    made = dict(_encoded(top, root))
    if root not in made:
        raise InvalidRequest(f"the tree isn't the one with the digest {root}")
    return made


def _place(top: _Node, path: str) -> tuple[_Node, str]:
    *above, name = path.split("/")
    if len(above) > _MAX_DEPTH or not name or "" in above:
        raise InvalidRequest(f"{path[:100]!r} isn't a path in an input root")
    node = top
    for part in above:
        node = node.below.setdefault(part, _Node())
    return node, name


def _encoded(node: _Node, root: Digest) -> Iterator[tuple[Digest, bytes]]:
    """The Directories below, then the node's own, which is the last one."""
    for name, child in sorted(node.below.items()):
        digest = root
        for digest, body in _encoded(child, root):
            yield digest, body
        entry = node.message.directories.add(name=name)
        entry.digest.hash, entry.digest.size_bytes = digest.hash_hex, digest.size_bytes
    body = node.message.SerializeToString(deterministic=True)
    yield digest_of(body, root.function), body
