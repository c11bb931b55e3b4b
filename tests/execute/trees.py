"""Helpers: input roots as trees, stored in a store and read back from layers."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Union

from reapi_local.execute.local.inputs.input_roots import InputRoots
from reapi_local.execute.local.inputs.parsed_directory import DEFAULT_MTIME_NS
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, digest_of
from reapi_local.store.blob_store import BlobStore
from reapi_local.store.memory import MemoryStore

KIB = 1024
MIB = 1024 * KIB
PLENTY = 1 << 40


@dataclass(frozen=True)
class File:
    content: bytes = b""
    executable: bool = False
    mode: int | None = None
    mtime_ns: int | None = None


@dataclass(frozen=True)
class Link:
    target: str


@dataclass(frozen=True)
class DirectoryWithMode:
    """A directory with a mode in its node properties."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    mode: int | None = None


Directory = Mapping[str, "Entry"]
Entry = Union[File, Link, DirectoryWithMode, Directory]  # noqa: UP007 - refers to itself

Seen = tuple[str, int, int, bytes | str]
"""Kind, permissions, time and content of a path."""


def blobs_of(tree: Directory | DirectoryWithMode) -> tuple[Digest, dict[Digest, bytes]]:
    """The root's digest and every blob of the tree."""
    folder = tree if isinstance(tree, DirectoryWithMode) else DirectoryWithMode(tree)
    message, blobs = re_pb2.Directory(), dict[Digest, bytes]()
    if folder.mode is not None:
        message.node_properties.unix_mode.value = folder.mode
    for name, entry in folder.entries.items():
        if isinstance(entry, File):
            digest = digest_of(entry.content)
            blobs[digest] = entry.content
            _add_file(message, name, digest, entry)
        elif isinstance(entry, Link):
            message.symlinks.add(name=name, target=entry.target)
        else:
            digest, below = blobs_of(entry)
            blobs |= below
            message.directories.add(name=name, digest=as_message(digest))
    data = message.SerializeToString()
    blobs[digest_of(data)] = data
    return digest_of(data), blobs


def _add_file(message: re_pb2.Directory, name: str, digest: Digest, file: File) -> None:
    node = message.files.add(name=name, digest=as_message(digest), is_executable=file.executable)
    if file.mode is not None:
        node.node_properties.unix_mode.value = file.mode
    if file.mtime_ns is not None:
        seconds, nanos = divmod(file.mtime_ns, 1_000_000_000)
        node.node_properties.mtime.seconds, node.node_properties.mtime.nanos = seconds, nanos


def as_message(digest: Digest) -> re_pb2.Digest:
    return re_pb2.Digest(hash=digest.hash_hex, size_bytes=digest.size_bytes)


def put(store: MemoryStore, tree: Directory | DirectoryWithMode) -> Digest:
    """Store a tree; returns the digest of its root."""
    root, blobs = blobs_of(tree)
    store.blobs |= blobs
    return root


def put_directory(store: MemoryStore, message: re_pb2.Directory) -> Digest:
    """Store one Directory message; returns its digest."""
    data = message.SerializeToString()
    store.blobs[digest_of(data)] = data
    return digest_of(data)


def file_blobs(tree: Directory | DirectoryWithMode) -> set[Digest]:
    """The digests of all files."""
    return {
        digest_of(seen[3])
        for seen in described(tree).values()
        if isinstance(seen[3], bytes) and seen[0] == "file"
    }


@asynccontextmanager
async def input_roots(
    store: BlobStore, directory: object, *, max_bytes: int = PLENTY, owner: int | None = None
) -> AsyncIterator[InputRoots]:
    """Yield InputRoots; close them on exit."""
    roots = InputRoots(store, str(directory), max_bytes, owner)
    try:
        yield roots
    finally:
        await roots.close()


def described(tree: Directory | DirectoryWithMode, path: str = "") -> dict[str, Seen]:
    """What has to be found below the root, by path."""
    folder = tree if isinstance(tree, DirectoryWithMode) else DirectoryWithMode(tree)
    found: dict[str, Seen] = {}
    if path:
        mode = 0o755 if folder.mode is None else folder.mode
        found[path] = ("directory", mode, DEFAULT_MTIME_NS, b"")
    for name, entry in folder.entries.items():
        where = os.path.join(path, name)
        if isinstance(entry, File):
            mode = (0o755 if entry.executable else 0o644) if entry.mode is None else entry.mode
            mtime_ns = DEFAULT_MTIME_NS if entry.mtime_ns is None else entry.mtime_ns
            found[where] = ("file", mode, mtime_ns, entry.content)
        elif isinstance(entry, Link):
            found[where] = ("symlink", 0, DEFAULT_MTIME_NS, entry.target)
        else:
            found |= described(entry, where)
    return found


def union(layers: Sequence[str]) -> dict[str, Seen]:
    """The union of the layers; fails if a file is in two of them, or directories differ."""
    found: dict[str, Seen] = {}
    for layer in layers:
        for path, seen in contents(layer).items():
            if path in found:
                assert seen[0] == "directory", f"{path} is in two layers"
                assert found[path] == seen
            found[path] = seen
    return found


def contents(directory: str) -> dict[str, Seen]:
    """Everything below a directory, by relative path."""
    found: dict[str, Seen] = {}
    for above, directories, files in os.walk(directory):
        for name in directories + files:
            path = os.path.join(above, name)
            found[os.path.relpath(path, directory)] = _seen(path)
    return found


def _seen(path: str) -> Seen:
    status = os.lstat(path)
    mode, mtime_ns = stat.S_IMODE(status.st_mode), status.st_mtime_ns
    if stat.S_ISLNK(status.st_mode):
        return "symlink", 0, mtime_ns, os.readlink(path)
    if stat.S_ISDIR(status.st_mode):
        return "directory", mode, mtime_ns, b""
    with open(path, "rb") as file:
        return "file", mode, mtime_ns, file.read()


def layers_on_disk(directory: object) -> set[str]:
    """The directories of layers, complete or not."""
    root = str(directory)
    return {os.path.join(root, name) for name in os.listdir(root) if name.isdigit()}


def files_on_disk(directory: object) -> int:
    """The number of files in all layers."""
    seen = (seen for layer in layers_on_disk(directory) for seen in contents(layer).values())
    return sum(kind == "file" for kind, *_ in seen)


def disk_bytes(directory: object) -> int:
    """The disk usage of all layers, as the file system reports it."""
    return 512 * sum(
        os.lstat(os.path.join(above, name)).st_blocks
        for layer in layers_on_disk(directory)
        for above, _, files in os.walk(layer)
        for name in (".", *files)
    )


def project(files: int, folders: int, size: int = 100, also: str = "") -> Directory:
    """A source tree of different files ``src/python/pkg_N/module_N.py``, and one ``also``."""
    packages: dict[str, dict[str, Entry]] = {f"pkg_{n:03}": {} for n in range(folders)}
    for number in range(files):
        content = b"%d " % number
        package = packages[f"pkg_{number % folders:03}"]
        package[f"module_{number:05}.py"] = File(content + bytes(size - len(content)))
    if also:
        name, module = also.split("/")
        packages[name][module] = File(b"one more")
    return {"src": {"python": packages}}
