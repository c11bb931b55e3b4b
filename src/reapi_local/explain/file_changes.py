"""What differs between two input roots, found by their digests.

Equal subtrees have equal digests, so only the directories on the way to a difference are read.

Source: REAPI v2, messages ``Directory``, ``FileNode`` and ``SymlinkNode``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from reapi_local.errors import InvalidRequest
from reapi_local.explain.causes import Cause, Kind
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, DigestFunction, parse_digest

Load = Callable[[Digest], re_pb2.Directory | None]
"""The Directory with this digest; None if nobody has it any more."""

_MOST_CHANGES: Final = 1000
_MOST_DIRECTORIES: Final = 20_000
_EMPTY: Final = re_pb2.Directory()


@dataclass(frozen=True)
class FileChanges:
    """``causes``: one for each path that differs. ``is_complete``: False if there are more.

    A directory that can't be read is a cause of the kind INPUTS.
    """

    causes: tuple[Cause, ...]
    is_complete: bool = True


def file_changes(before: Digest, after: Digest, load: Load) -> FileChanges:
    """Compare two input roots; at most 1,000 changes, over at most 20,000 directories."""
    found: list[Cause] = []
    waiting: deque[tuple[str, Digest | None, Digest | None]] = deque([("", before, after)])
    read = 0
    while waiting and len(found) < _MOST_CHANGES and read < _MOST_DIRECTORIES:
        path, old_digest, new_digest = waiting.popleft()
        read += 1
        old = _EMPTY if old_digest is None else load(old_digest)
        new = _EMPTY if new_digest is None else load(new_digest)
        if old is None or new is None:
            found.append(Cause(Kind.INPUTS, path, _text(old_digest), _text(new_digest)))
            continue
        function = (new_digest or old_digest or before).function
        found.extend(_in_directory(path, old, new))
        waiting.extend(_below(path, old, new, function))
    is_complete = not waiting and len(found) <= _MOST_CHANGES
    return FileChanges(tuple(_with_renames(found[:_MOST_CHANGES])), is_complete)


def _in_directory(path: str, old: re_pb2.Directory, new: re_pb2.Directory) -> Iterator[Cause]:
    yield from _files(path, {f.name: f for f in old.files}, {f.name: f for f in new.files})
    yield from _links(path, {s.name: s for s in old.symlinks}, {s.name: s for s in new.symlinks})


def _files(path: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[Cause]:
    for name in sorted({*old, *new}):
        before, after, full = old.get(name), new.get(name), path + name
        was = None if before is None else f"{before.digest.hash}/{before.digest.size_bytes}"
        now = None if after is None else f"{after.digest.hash}/{after.digest.size_bytes}"
        if before is None or after is None:
            kind = Kind.FILE_ADDED if before is None else Kind.FILE_REMOVED
            yield Cause(kind, full, was, now)
        elif was != now:
            yield Cause(Kind.FILE_CHANGED, full, was, now)
        elif before.is_executable != after.is_executable:
            yield Cause(Kind.MODE, full, *map(_mode, (before.is_executable, after.is_executable)))


def _links(path: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[Cause]:
    for name in sorted({*old, *new}):
        before, after, full = old.get(name), new.get(name), path + name
        if before is None or after is None:
            kind = Kind.FILE_ADDED if before is None else Kind.FILE_REMOVED
            yield Cause(kind, full)
        elif before.target != after.target:
            yield Cause(Kind.LINK, full, before.target, after.target)


def _below(
    path: str, old: re_pb2.Directory, new: re_pb2.Directory, function: DigestFunction
) -> Iterator[tuple[str, Digest | None, Digest | None]]:
    before = {node.name: _digest(node, function) for node in old.directories}
    after = {node.name: _digest(node, function) for node in new.directories}
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield f"{path}{name}/", before.get(name), after.get(name)


def _digest(node: re_pb2.DirectoryNode, function: DigestFunction) -> Digest | None:
    try:
        return parse_digest(node.digest, function.value)
    except InvalidRequest:  # never from a client that means well, and no reason to fail
        return None


def _with_renames(causes: list[Cause]) -> Iterator[Cause]:
    """A file that is gone and one that is new with its content are one that was renamed."""
    gone: dict[str, list[Cause]] = {}
    for cause in causes:
        if cause.kind is Kind.FILE_REMOVED and cause.before and not cause.before.endswith("/0"):
            gone.setdefault(cause.before, []).append(cause)
    renamed: dict[Cause, Cause] = {}
    for cause in causes:
        if cause.kind is Kind.FILE_ADDED and cause.after and gone.get(cause.after):
            old = gone[cause.after].pop(0)
            renamed[cause] = Cause(Kind.FILE_RENAMED, cause.name, old.name, cause.after)
            renamed[old] = renamed[cause]
    for cause in causes:
        if cause not in renamed:
            yield cause
        elif cause.kind is Kind.FILE_ADDED:
            yield renamed[cause]


def _mode(is_executable: bool) -> str:
    return "executable" if is_executable else "not executable"


def _text(digest: Digest | None) -> str | None:
    return None if digest is None else str(digest)
