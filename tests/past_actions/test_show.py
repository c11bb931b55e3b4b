"""`reapi-local show` and `tree`: what a digest is, and what is in it."""

from __future__ import annotations

import os

import pytest

from past_actions.lab import INSTANCE, Lab, blobs_of, text
from reapi_local.proto.remote_execution_pb2 import (
    ActionResult,
    Command,
    Directory,
    OutputDirectory,
    OutputFile,
    Tree,
)
from rpc.helpers import digest_of

SECRET = "hunter2-hunter2"


@pytest.fixture(scope="module")
def action(lab: Lab) -> str:
    script = "mkdir -p out/sub; cp src.txt out/sub; echo told; echo warned >&2; exit 0"
    return lab.action(
        script,
        {"src.txt": "hello\n", "tool": b"\0\1"},
        ["out"],
        action={"timeout": {"seconds": 60}},
        environment_variables=[
            {"name": "API_TOKEN", "value": SECRET},
            {"name": "GREETING", "value": "it's here"},
        ],
        platform={"properties": [{"name": "OSFamily", "value": "Linux"}]},
    )


def test_an_action_is_shown_with_its_command_inputs_and_result(lab: Lab, action: str) -> None:
    shown = lab.text("show", action)
    cached = lab.cached(action)

    assert shown.startswith(f"action {action}\n")
    for line in (
        f"  instance  {INSTANCE}\n",
        "2 files with 8 B, 0 directories\n",
        "  timeout   60 s\n",
        "  platform  OSFamily=Linux\n",
        "  /bin/sh -c \\\n",
        "  GREETING='it'\"'\"'s here'\n",
        "  exit     0\n",
        " by owner\n",
        f"  stdout   {text(cached.stdout_digest)}\n",
        "out/\n",
        f"  {text(cached.output_directories[0].tree_digest)}\n",
    ):
        assert line in shown
    assert lab.text("show", action, "--stdout") == "told\n"
    assert lab.text("show", action, "--stderr") == "warned\n"


@pytest.mark.parametrize("as_json", [False, True])
def test_a_secret_is_shown_only_if_it_is_asked_for(lab: Lab, action: str, as_json: bool) -> None:
    words = ["show", action, *(["--json"] if as_json else [])]

    assert SECRET not in lab.text(*words)
    assert SECRET in lab.text(*words, "--secrets")


def test_each_part_of_an_action_is_known_for_what_it_is(lab: Lab, action: str) -> None:
    parts = lab.json("show", action)
    tree = parts["result"]["outputs"][0]["digest"]
    kinds = {
        parts["action"]["command"]: "command",
        parts["action"]["input_root"]: "directory",
        tree: "tree",
        parts["result"]["stdout"]: "file",
    }

    for digest, kind in kinds.items():
        assert lab.json("show", digest)["kind"] == kind
        assert lab.text("show", digest).startswith(f"{kind} {digest}\n")
    assert lab.text("tree", tree).split() == ["sub/", "6", "B", "src.txt*"]


@pytest.mark.parametrize("digits", [12, 63, 64])
def test_the_beginning_of_its_hash_is_enough_for_an_action_with_a_result(
    lab: Lab, action: str, digits: int
) -> None:
    assert lab.json("show", action[:digits])["digest"] == action


def test_a_hash_without_its_size_is_enough_for_each_blob(lab: Lab) -> None:
    [digest] = lab.upload(b"just bytes\n")

    assert lab.json("show", digest.partition("/")[0])["digest"] == digest
    assert lab.text("show", digest, "--content") == "just bytes\n"
    # Nobody finds by guessing what others keep.
    assert "no blob" in lab.refusal("show", digest[:20])


def test_a_large_file_is_printed_whole(lab: Lab) -> None:
    content = os.urandom(1_300_000).hex()
    [digest] = lab.upload(content[:1_900_000].encode())

    assert lab.text("show", digest, "--content") == content[:1_900_000]


def test_a_message_is_told_from_a_text_with_the_same_bytes(lab: Lab) -> None:
    # These bytes are a Command with one argument, too.
    [letter] = lab.upload(b"\n\nhello worl")
    [names] = lab.upload(Command(arguments=["/bin/true"]).SerializeToString())

    assert lab.json("show", letter)["kind"] == "file"
    assert lab.json("show", letter, "--as", "command")["command"]["arguments"] == ["hello worl"]
    assert lab.json("show", names, "--as", "command")["command"]["arguments"] == ["/bin/true"]
    assert "isn't a message" in lab.refusal("show", letter, "--as", "action")


def test_what_is_gone_is_named(cache: Lab) -> None:
    root = Directory(files=[{"name": "a", "digest": digest_of(b"a")}])
    action, command, encoded = blobs_of(Command(arguments=["/bin/true"]), root)
    key = text(digest_of(action))
    result = ActionResult(exit_code=3, stdout_raw=b"inline\n")

    cache.keep_result(key, result)
    shown = cache.json("show", key)
    assert shown["lost"] == [f"the action {key}"]
    assert shown["result"]["exit_code"] == 3
    cache.upload(action)
    assert cache.json("show", key)["lost"] == [
        f"the command {text(digest_of(command))}",
        f"the input root {text(digest_of(encoded))}",
    ]
    cache.upload(command)
    told = cache.text("show", key)
    assert "/bin/true\n" in told
    assert "Pants sends it no inputs" in " ".join(told.split())
    assert "input root" in cache.refusal("tree", key)
    for command_name in ("replay", "shell"):
        assert cache.run(command_name, key).returncode == 1
    assert "the input root" in cache.refusal("export", key, "--to", "out")


def test_a_result_that_lacks_a_blob_is_shown_and_stays(cache: Lab) -> None:
    action, *rest = blobs_of(Command(arguments=["/bin/true"]), Directory())
    lost = digest_of(b"never uploaded")
    key, *_ = cache.upload(action, *rest)
    cache.keep_result(key, ActionResult(output_files=[OutputFile(path="x", digest=lost)]))

    for _ in range(2):
        [output] = cache.json("show", key)["result"]["outputs"]
        assert output["digest"] == text(lost)
    assert "The store has no blob" in cache.refusal("show", text(lost))


def test_a_tree_is_listed_as_far_as_it_is_there(cache: Lab) -> None:
    deep = Directory(files=[{"name": "deep", "digest": digest_of(b"four")}])
    lost = Directory(files=[{"name": "unseen", "digest": digest_of(b"x")}])
    root = Directory(
        files=[{"name": "run", "digest": digest_of(b"12"), "is_executable": True}],
        directories=[
            {"name": "gone", "digest": digest_of(lost.SerializeToString())},
            {"name": "sub", "digest": digest_of(deep.SerializeToString())},
        ],
        symlinks=[{"name": "to", "target": "../x"}],
    )
    [digest, _] = cache.upload(root.SerializeToString(), deep.SerializeToString())

    lines = [" ".join(line.split()) for line in cache.text("tree", digest).splitlines()]
    assert lines == [
        "gone/ (the store doesn't have this directory)",
        "2 B run*",
        "sub/",
        "4 B deep",
        "to -> ../x",
    ]
    assert cache.json("show", digest)["totals"] == {
        "files": 2,
        "directories": 2,
        "symlinks": 1,
        "size_bytes": 6,
        "missing": 1,
    }
    assert cache.text("tree", digest, "sub").split() == ["4", "B", "deep"]
    assert cache.text("tree", digest, "--depth=1", "--digests").splitlines()[1] == (
        f"{text(digest_of(b'12'))}  run*"
    )
    assert cache.json("tree", digest, "--limit=2")["more"] is True
    assert "there is no 'sub/other'" in cache.refusal("tree", digest, "sub/other").lower()


def test_a_directory_that_is_in_itself_many_times_is_counted_quickly(cache: Lab) -> None:
    """Forty levels, each with the next one twice: 2 ** 40 files in forty blobs."""
    level = Directory(files=[{"name": "f", "digest": digest_of(b"ab")}])
    blobs = [level.SerializeToString()]
    for _ in range(40):
        digest = digest_of(blobs[-1])
        blobs.append(
            Directory(
                directories=[{"name": "a", "digest": digest}, {"name": "b", "digest": digest}]
            ).SerializeToString()
        )
    *_, root = cache.upload(*blobs)

    assert cache.json("show", root)["totals"]["files"] == 2**40
    assert len(cache.json("tree", root)["entries"]) == 1000


def test_an_output_directory_of_either_form_is_shown(cache: Lab) -> None:
    inner = Directory(files=[{"name": "f", "digest": digest_of(b"f")}])
    tree = Tree(root=inner).SerializeToString()
    action, *rest = blobs_of(Command(arguments=["/bin/true"]), Directory(), salt=b"forms")
    key, *_ = cache.upload(action, *rest, tree, inner.SerializeToString(), b"f")
    outputs = [
        OutputDirectory(path="new", root_directory_digest=digest_of(inner.SerializeToString())),
        OutputDirectory(path="old", tree_digest=digest_of(tree)),
    ]
    cache.keep_result(key, ActionResult(output_directories=outputs))

    for output in cache.json("show", key)["result"]["outputs"]:
        assert cache.text("tree", output["digest"]).split() == ["1", "B", "f"]


@pytest.mark.parametrize(
    ("digest", "words"),
    [
        ("xyz", "is no digest"),
        ("abc", "is no digest"),
        ("a" * 64 + "/x", "is no digest"),
        ("a" * 129, "is no digest"),
        ("a" * 64, "has no blob"),
        ("../../v1/stop", "is no digest"),
    ],
)
def test_what_is_no_digest_or_not_there_is_told_with_a_way_out(
    cache: Lab, digest: str, words: str
) -> None:
    assert words in cache.refusal("show", digest)


def test_without_a_server_each_command_says_how_to_start_it(cache: Lab) -> None:
    for words in (["show", "abcd"], ["diff", "a", "b"], ["tree", "abcd"], ["replay", "abcd"]):
        told = cache.refusal(*words, "--data-dir=/nowhere")
        assert "No server is running." in told
        assert "reapi-local up --data-dir=/nowhere" in told


def test_looking_counts_as_no_call_of_a_client(lab: Lab, action: str) -> None:
    before = lab.server.call("GET", "/v1/status")["action_cache"]
    lab.text("show", action)
    lab.text("tree", action)

    assert lab.server.call("GET", "/v1/status")["action_cache"] == before
