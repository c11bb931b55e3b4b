"""Hostile messages: well-formed with absurd values, or bytes that are no message at all.

All of it comes from a ``random.Random``, so that hypothesis, atheris and a plain seed can choose.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from reapi_local.proto.remote_execution_pb2 import (
    Action,
    ActionResult,
    Command,
    Digest,
    Directory,
    Tree,
)

M = TypeVar("M", bound=Message)

_MOST_DEPTH = 4
_STRINGS, _BYTES, _MESSAGES = (
    FieldDescriptor.TYPE_STRING,
    FieldDescriptor.TYPE_BYTES,
    FieldDescriptor.TYPE_MESSAGE,
)

INTEGERS = (
    *(0, 1, -1, 2, 3, 7, 63, 64, 100, 511, 1023, 4096, 65_537, 1_000_000_000, -999_999_999),
    *(
        2**31 - 1,
        -(2**31),
        2**31,
        2**32,
        2**53 + 1,
        2**62,
        2**63 - 2,
        2**63 - 1,
        -(2**63),
        2**64 - 1,
    ),
    *(253_402_300_799, 253_402_300_800, -62_135_596_800, -62_135_596_801),
)
NAMES = (
    *(
        "a",
        "b",
        "out",
        "A",
        "",
        ".",
        "..",
        "...",
        "/",
        "a/b",
        "../a",
        "a/..",
        "a/../b",
        "./a",
        "a/",
    ),
    *("/a", "//", "/etc/passwd", "/dev/null", "/proc/self/mem", "a\0b", "\0", "\n", " ", "-", "~"),
    *("\u202e", "\ufffd", "\U0001f600", "é", "e\u0301", "\x7f", "\x01", "%00", "{chroot}", "$HOME"),
    *(
        "x" * 255,
        "x" * 256,
        "é" * 127,
        "é" * 128,
        "x" * 5000,
        "a/" * 199 + "a",
        "a/" * 300,
        "../" * 9,
    ),
    *("__pants_wrapper__", "./__pants_wrapper__", "PATH", "LD_PRELOAD", "=", "a=b", "mtime"),
    *("unix_mode", "network", "OSFamily", "linux", "on", "/" + "y" * 3999, "z/" * 1990),
)
PROGRAMS = (
    "/bin/true",
    "/bin/sh",
    "true",
    "out",
    "./out",
    "/",
    ".",
    "",
    "/etc/passwd",
    "a/b",
    "x" * 300,
)
INSTANCES = (
    *("", "", "", "", "main", "a/b", "..", "a/../b", "blobs", "a/blobs/b", "/", "a//b", "a/", "\0"),
    *(
        "\n",
        "é" * 127,
        "é" * 128,
        "x" * 255,
        "x" * 256,
        "operations",
        "\u202e",
        "\U0001f600",
        "a b",
    ),
)
CONTENTS = (b"", b"a", b"good", b"\0", b"\xff\xff", b"x" * 70_000)


def digest_of(data: bytes) -> Digest:
    return Digest(hash=hashlib.sha256(data).hexdigest(), size_bytes=len(data))


def wild_digest(random: Random, known: Sequence[Digest] = ()) -> Digest:
    """One of ``known`` more often than not; else one that is absurd, or of no blob."""
    base = random.choice(known) if known else digest_of(b"good")
    if random.random() < 0.9:
        return base
    hash_hex = random.choice(
        (
            *(
                base.hash,
                base.hash,
                base.hash.upper(),
                base.hash[:-1],
                base.hash + "0",
                "",
                "g" * 64,
            ),
            *("0" * 64, "f" * 96, "a" * 128, "0" * 40, "../" * 21 + "x", "٣" * 64, "x" * 3000),
        )
    )
    return Digest(
        hash=hash_hex, size_bytes=_within(random.choice(INTEGERS), FieldDescriptor.TYPE_INT64)
    )


def wild(random: Random, kind: type[M], known: Sequence[Digest] = (), depth: int = 0) -> M:
    """A message of this kind with absurd fields. ``known``: digests that it may refer to."""
    message = kind()
    for field in kind.DESCRIPTOR.fields:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            continue
        if random.random() < (0.35 if depth < _MOST_DEPTH else 0.9):
            continue
        if field.is_repeated:
            values = getattr(message, field.name)
            for _ in range(random.choice((0, 1, 1, 2, 2, 3, 40))):
                values.append(_value(random, field, known, depth))
            if len(values) and random.random() < 0.2:
                values.append(values[0])
        elif field.type == _MESSAGES:
            getattr(message, field.name).CopyFrom(_value(random, field, known, depth))
        else:
            setattr(message, field.name, _value(random, field, known, depth))
    return message


def mangled(random: Random, data: bytes) -> bytes:
    """The bytes with some damage."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 5))):
        at = random.randrange(len(changed) + 1)
        random.choice(_DAMAGE)(random, changed, at)
    return bytes(changed)


def _value(random: Random, field: Any, known: Sequence[Digest], depth: int) -> Any:
    if field.type == _MESSAGES:
        kind = GetMessageClass(field.message_type)
        if kind is Digest:
            return wild_digest(random, known)
        return wild(random, kind, known, depth + 1)
    if field.type == _STRINGS:
        return random.choice(_strings_for(field))
    if field.type == _BYTES:
        return random.choice(CONTENTS)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return random.random() < 0.5
    if field.type in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
        return random.choice((0.0, -1.0, 1e308, float("inf"), float("nan")))
    if field.type == FieldDescriptor.TYPE_ENUM:
        return random.choice((0, 1, 1, 1, 2, 3, 5, 6, 9, 77, -1, 2**31 - 1))
    return _within(random.choice(INTEGERS), field.type)


def _strings_for(field: FieldDescriptor) -> Sequence[str]:
    if field.name == "instance_name":
        return INSTANCES
    if field.name == "arguments":
        return (*PROGRAMS, *NAMES)
    return NAMES


_BITS = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
}


def _within(number: int, kind: int) -> int:
    least, most = _BITS.get(kind, (-(2**63), 2**63 - 1))
    return min(max(number, least), most)


def _flip(random: Random, data: bytearray, at: int) -> None:
    if at < len(data):
        data[at] ^= 1 << random.randrange(8)


def _cut(random: Random, data: bytearray, at: int) -> None:
    del data[at : at + random.choice((1, 2, 8, 10_000))]


def _repeat(random: Random, data: bytearray, at: int) -> None:
    data[at:at] = data[at : at + random.choice((1, 4, 64))] * random.choice((1, 2, 30))


def _insert(random: Random, data: bytearray, at: int) -> None:
    data[at:at] = random.choice(_INSERTED)


_INSERTED = (
    *(
        b"\0",
        b"\xff",
        b"\xff" * 10,
        b"\x80" * 11,
        b"\x0a\x03\xed\xa0\x80",
        b"\x0a\xff\xff\xff\xff\x0f",
    ),
    *(
        b"\x0b" * 200,
        b"\xa2\x06\x01x",
        b"\x0a\x00" * 50,
        b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    ),
)
_DAMAGE: tuple[Callable[[Random, bytearray, int], None], ...] = (_flip, _cut, _repeat, _insert)


def wild_directory(random: Random, known: Sequence[Digest]) -> Directory:
    """A Directory that is often valid, so that what reads it goes on."""
    if random.random() < 0.3:
        return wild(random, Directory, known)
    names = random.sample(("a", "b", "out", "sub", "é", "x" * 255, "{chroot}"), 4)
    directory = Directory()
    directory.files.add(name=names[0], digest=random.choice(known), is_executable=True)
    if random.random() < 0.5:
        target = random.choice((*NAMES, *PROGRAMS))
        directory.symlinks.add(name=names[1], target=target)
    if random.random() < 0.5:
        directory.directories.add(name=names[2], digest=random.choice(known))
    if random.random() < 0.2:
        directory.node_properties.unix_mode.value = random.choice((0, 0o777, 0o7777, 2**32 - 1))
    return directory


def wild_command(random: Random) -> Command:
    """A Command that can often be run, with outputs that often can be collected."""
    command = wild(random, Command)
    if random.random() < 0.8:
        del command.arguments[:]
        command.arguments.extend(random.choice(_RUNNABLE))
    if random.random() < 0.85:
        command.ClearField("environment_variables")
        command.ClearField("output_node_properties")
        command.ClearField("platform")
    if random.random() < 0.85:
        command.working_directory = random.choice(("", ".", "a", "sub/../w", "out"))
    if random.random() < 0.85:
        for field in ("output_paths", "output_files", "output_directories"):
            paths = getattr(command, field)
            kept = [path for path in paths if not path.startswith("/") and "\0" not in path]
            del paths[:]
            paths.extend(path for path in kept if len(path) < 250 and ".." not in path)
    return command


_RUNNABLE = (
    *(("/bin/true",), ("true",), ("/bin/sh", "-c", "exit 3"), ("./a",), ("./__pants_wrapper__",)),
    ("/bin/sh", "-c", "mkdir -p out a; echo 1 > out/a; ln -s /etc/passwd b; ln -s . a/b; echo 2"),
    ("/bin/sh", "-c", "rm -rf out; ln -s ../../.. out; mkfifo a; echo >&2 x"),
    (
        "/bin/sh",
        "-c",
        "mkdir -p out; cd out; echo > \"$(printf '\\377\\n')\"; ln -s out out; kill -9 $$",
    ),
    ("/bin/sh", "-c", "chmod 000 .; mkdir out; chmod 000 out; ln -s x b"),
    ("/bin/sh", "-c", "echo " + "x" * 100_000),
)


def wild_action(random: Random, command: Digest, root: Digest) -> Action:
    action = wild(random, Action, (command, root))
    if random.random() < 0.8:
        action.ClearField("timeout")
    if random.random() < 0.8:
        action.ClearField("platform")
    if random.random() < 0.9:
        action.command_digest.CopyFrom(command)
        action.input_root_digest.CopyFrom(root)
    return action


def wild_result(random: Random, known: Sequence[Digest]) -> ActionResult:
    """An ActionResult that is often acceptable, and often contradicts itself."""
    result = wild(random, ActionResult, known)
    if random.random() < 0.8:
        for field in ("output_files", "output_directories", "output_symlinks"):
            for entry in getattr(result, field):
                entry.path = random.choice(("a", "b/c", "out", "é", "../a", "./a"))
        for file in result.output_files:
            file.digest.CopyFrom(random.choice(known))
        for directory in result.output_directories:
            directory.tree_digest.CopyFrom(random.choice(known))
        result.ClearField("output_file_symlinks")
        result.ClearField("output_directory_symlinks")
    return result


def wild_tree(random: Random, known: Sequence[Digest]) -> Tree:
    """A Tree whose sub-directories are often among its children."""
    if random.random() < 0.3:
        return wild(random, Tree, known)
    tree = Tree()
    below = list(known)
    for _ in range(random.choice((0, 1, 3, 30))):
        child = wild_directory(random, below)
        tree.children.append(child)
        below.append(digest_of(child.SerializeToString(deterministic=True)))
    tree.root.CopyFrom(wild_directory(random, below))
    return tree
