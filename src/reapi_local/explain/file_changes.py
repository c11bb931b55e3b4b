"""What differs between two input roots, found by their digests.

Equal subtrees have equal digests, so only the directories on the way to a difference are read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from reapi_contract import inspection
from reapi_contract.inspection import Entry
from reapi_local.errors import InvalidRequest
from reapi_local.explain.causes import Cause, Kind
from reapi_local.inspect.entries import digest_in, is_directory, unlike_entries
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest

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
        like = new_digest or old_digest or before
        for place, was, now in unlike_entries(old, new, path):
            found.extend(_causes(place, was, now))
            if is_directory(was) or is_directory(now):
                waiting.append((f"{place}/", _directory_in(was, like), _directory_in(now, like)))
    is_complete = not waiting and len(found) <= _MOST_CHANGES
    return FileChanges(tuple(_with_renames(found[:_MOST_CHANGES])), is_complete)


def _causes(path: str, before: Entry | None, after: Entry | None) -> Iterator[Cause]:
    """What differs at one path, apart from what is in a directory there."""
    old = None if is_directory(before) else before
    new = None if is_directory(after) else after
    if old is not None and new is not None and old.kind == new.kind:
        yield _changed(path, old, new)
        return
    if old is not None:
        yield Cause(Kind.FILE_REMOVED, path, old.digest or None, None)
    if new is not None:
        yield Cause(Kind.FILE_ADDED, path, None, new.digest or None)


def _changed(path: str, old: Entry, new: Entry) -> Cause:
    if old.kind == inspection.LINK:
        return Cause(Kind.LINK, path, old.target, new.target)
    if old.digest != new.digest:
        return Cause(Kind.FILE_CHANGED, path, old.digest, new.digest)
    return Cause(Kind.MODE, path, _mode(old.executable), _mode(new.executable))


def _directory_in(entry: Entry | None, like: Digest) -> Digest | None:
    """The digest of the directory that an entry is; None = an empty one."""
    if entry is None or not is_directory(entry):
        return None
    try:
        return digest_in(entry, like)
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
