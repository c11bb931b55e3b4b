"""What is directly in a Directory, as entries, and what differs between two Directories.

Pure functions. Source: REAPI v2, messages ``Directory``, ``FileNode`` and ``SymlinkNode``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TypeAlias

from reapi_contract import inspection
from reapi_contract.inspection import Entry
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, parse_digest

Pair: TypeAlias = tuple[str, Entry | None, Entry | None]
"""A path, and what is there on either side; None = nothing."""


def entries_of(directory: re_pb2.Directory) -> list[Entry]:
    """What is directly in a directory, sorted by name; paths are names."""
    found = [
        Entry(n.name, inspection.DIRECTORY, _text(n.digest), n.digest.size_bytes)
        for n in directory.directories
    ]
    found += [
        Entry(n.name, inspection.FILE, _text(n.digest), n.digest.size_bytes, n.is_executable)
        for n in directory.files
    ]
    found += [Entry(n.name, inspection.LINK, target=n.target) for n in directory.symlinks]
    return sorted(found, key=lambda entry: entry.path)


def unlike_entries(a: re_pb2.Directory, b: re_pb2.Directory, below: str) -> Iterator[Pair]:
    """What is directly in one of two directories and not the same in the other, sorted by name.

    ``below``: what paths begin with, the path of both directories and a slash.
    """
    ours, theirs = ({entry.path: entry for entry in entries_of(side)} for side in (a, b))
    for name in sorted({*ours, *theirs}):
        one, other = ours.get(name), theirs.get(name)
        if one != other:
            yield f"{below}{name}", one, other


def is_directory(entry: Entry | None) -> bool:
    """Whether there is something, and it is a directory."""
    return entry is not None and entry.kind == inspection.DIRECTORY


def digest_in(entry: Entry, like: Digest) -> Digest:
    """The digest of an entry, of the same function as ``like``. Raises InvalidRequest."""
    if not entry.digest:
        return like
    hash_hex, _, size = entry.digest.rpartition("/")
    return parse_digest(re_pb2.Digest(hash=hash_hex, size_bytes=int(size)), like.function)


def moved(entry: Entry, path: str) -> Entry:
    """The same entry at another path."""
    return replace(entry, path=path)


def _text(digest: re_pb2.Digest) -> str:
    return f"{digest.hash}/{digest.size_bytes}"
