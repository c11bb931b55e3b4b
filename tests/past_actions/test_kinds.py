"""What a blob is, judged by its bytes."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reapi_contract.inspection import KINDS
from reapi_local.inspect.kinds import is_text, kind_of
from reapi_local.proto.remote_execution_pb2 import (
    Action,
    ActionResult,
    Command,
    Digest,
    Directory,
    Tree,
)
from reapi_local.protocol.digest import DigestFunction

SHA256 = DigestFunction.SHA256
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20)
NAMES = NAMES.filter(lambda name: name not in (".", ".."))
DIGESTS = st.builds(
    lambda content, size: Digest(hash=hashlib.sha256(content).hexdigest(), size_bytes=size),
    st.binary(max_size=3),
    st.integers(0, 1 << 40),
)


def encoded(message: object) -> bytes:
    data: bytes = message.SerializeToString(deterministic=True)  # type: ignore[attr-defined]
    return data


def directories() -> st.SearchStrategy[Directory]:
    files = st.builds(dict, name=NAMES, digest=DIGESTS, is_executable=st.booleans())
    links = st.builds(dict, name=NAMES, target=NAMES)
    below = st.builds(dict, name=NAMES, digest=DIGESTS)
    return st.builds(
        Directory,
        files=st.lists(files, max_size=3),
        directories=st.lists(below, max_size=2),
        symlinks=st.lists(links, max_size=2),
    ).filter(lambda directory: directory.ByteSize() > 0)


@given(directories())
def test_a_directory_is_never_taken_for_anything_else(directory: Directory) -> None:
    assert kind_of(encoded(directory), SHA256) == "directory"


@given(DIGESTS, DIGESTS, st.integers(0, 100), st.booleans())
def test_an_action_is_never_taken_for_anything_else(
    command: Digest, root: Digest, timeout: int, uncached: bool
) -> None:
    action = Action(command_digest=command, input_root_digest=root, do_not_cache=uncached)
    action.timeout.seconds = timeout
    assert kind_of(encoded(action), SHA256) == "action"


@given(
    st.lists(NAMES, min_size=1, max_size=5), st.dictionaries(NAMES, NAMES, min_size=1, max_size=3)
)
def test_a_command_with_variables_is_never_taken_for_anything_else(
    arguments: list[str], variables: dict[str, str]
) -> None:
    pairs = [{"name": n.replace("=", "_"), "value": v} for n, v in sorted(variables.items())]
    command = Command(arguments=arguments, environment_variables=pairs)
    assert kind_of(encoded(command), SHA256) == "command"


@given(directories())
def test_a_tree_is_never_taken_for_anything_else(root: Directory) -> None:
    del root.directories[:]
    tree = Tree(root=root)
    assert kind_of(encoded(tree), SHA256) == "tree"


def test_a_result_with_an_output_is_known() -> None:
    digest = Digest(hash="a" * 64, size_bytes=1)
    result = ActionResult(output_files=[{"path": "x", "digest": digest}], stdout_digest=digest)
    assert kind_of(encoded(result), SHA256) == "result"


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"])))
def test_a_text_is_a_file(text: str) -> None:
    assert kind_of(text.encode(), SHA256) == "file"
    assert is_text(text.encode()[: len(text.encode()) - 1])


@given(st.binary(max_size=200))
def test_any_bytes_are_of_some_kind(data: bytes) -> None:
    assert kind_of(data, SHA256) in KINDS


@pytest.mark.parametrize(
    ("data", "kind"),
    [(b"", "file"), (b"\n", "file"), (b"\x1a\0", "file"), (b"\n\2\n\0", "file"), (b"\n\0", "tree")],
)
def test_of_short_bytes_only_the_tree_of_an_empty_directory_is_a_message(
    data: bytes, kind: str
) -> None:
    assert kind_of(data, SHA256) == kind
