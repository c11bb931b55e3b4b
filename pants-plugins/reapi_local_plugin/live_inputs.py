"""The input trees of processes that ran a moment ago, from Pants' own objects in memory.

Where Pants only uses a cache it never writes the directories of inputs anywhere: not into its local
store, and it uploads none. But the `Process` objects, each with the digest of its inputs, live as
long as Pants' graph knows them. From such a digest the engine lists the files, without reading any.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from pants.engine.fs import Digest, DigestEntries, Directory, FileEntry
from pants.engine.process import Process
from pants.engine.rules import QueryRule

from reapi_contract.input_trees import InputTree

Entries = Callable[[Digest], Iterable[Any]]


def rules() -> Iterable[Any]:
    """Lets the engine be asked for the entries of a digest."""
    return (QueryRule(DigestEntries, (Digest,)),)


def live_trees(
    inputs: Mapping[str, str], wanted: Collection[str], entries: Entries
) -> Iterator[InputTree]:
    """The trees with these roots, "HASH/SIZE"; a process that is gone has none.

    `inputs`: from the fingerprint of the digest of a process' own inputs to its root, which has the
    immutable inputs, too.
    """
    left = set(wanted)
    for process in [one for one in gc.get_objects() if type(one) is Process]:
        root = inputs.get(process.input_digest.fingerprint)
        if root in left:
            left.discard(root)
            yield _tree(root, process, entries)


def _tree(root: str, process: Process, entries: Entries) -> InputTree:
    files: list[tuple[str, str, bool]] = []
    links: list[tuple[str, str]] = []
    directories: list[str] = []
    immutable = getattr(process, "immutable_input_digests", {})
    for prefix, digest in [("", process.input_digest), *immutable.items()]:
        below = f"{prefix}/" if prefix else ""
        for entry in entries(digest):
            path = f"{below}{entry.path}"
            if isinstance(entry, FileEntry):
                name = entry.file_digest
                size = name.serialized_bytes_length
                files.append((path, f"{name.fingerprint}/{size}", entry.is_executable))
            elif isinstance(entry, Directory):
                directories.append(path)
            else:  # a SymlinkEntry, which releases before 2.18 name differently
                links.append((path, entry.target))
    return InputTree(root, files, links, directories)
