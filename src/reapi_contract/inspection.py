"""What the admin interface tells about objects of the store: actions, trees, results and files.

A digest is written HASH/SIZE. A path is relative to the directory that is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reapi_contract.json_records import from_json

OBJECT = "/v1/objects/{digest:path}"
"""GET with the queries `instance`, `as` (a kind) and `secrets=1`: `Described`."""

TREE = "/v1/trees/{digest:path}"
"""GET with the queries `instance`, `path`, `depth` and `limit`: `Listing`."""

BLOB = "/v1/blobs/{digest:path}"
"""GET with the queries `instance`, `offset` and `limit`: `{"data": BASE64}`."""

DIFFERENCES = "/v1/differences"
"""GET with the queries `a`, `b`, `instance`, `path` and `secrets=1`: `Differences`."""

ACTION, COMMAND, DIRECTORY, TREE_MESSAGE, RESULT, FILE = KINDS = (
    *("action", "command", "directory", "tree"),
    *("result", "file"),
)
"""What a blob can be. A file is any blob that is no message of REAPI."""

MIN_PREFIX = 4
"""How many digits of a hash must be given at least."""

MAX_PIECE_BYTES = 1024 * 1024
"""The most that one request for a blob brings."""

MAX_ENTRIES = 10_000
"""The most entries that one answer has."""

LINK, LOST = "symlink", "missing"
"""Kinds of entries beside `directory` and `file`. A directory is missing if its blob is."""

WHY_GONE = (
    "What is not used for long is evicted, and a build brings it back. Inputs of processes that "
    "ran elsewhere were perhaps never here: as long as the server is only a cache, Pants sends it "
    "no inputs."
)
"""What users are told about blobs that the store lacks."""


@dataclass(frozen=True)
class Entry:
    """A file, directory or symlink in a tree, or an output. `target`: of a symlink."""

    path: str = ""
    kind: str = ""
    digest: str = ""
    size_bytes: int = 0
    executable: bool = False
    target: str = ""


@dataclass(frozen=True)
class Totals:
    """How much is in a tree. `missing`: the Directories that the store lacks, with all in them."""

    files: int = 0
    directories: int = 0
    symlinks: int = 0
    size_bytes: int = 0
    missing: int = 0


@dataclass(frozen=True)
class Described:
    """One object.

    `kind`: one of `KINDS`. `function`: the digest function, like `SHA256`. `instances`: in which an
    action has a result. `lost`: the blobs that are needed to describe it and that the store lacks,
    each with what it is. The parts that the kind doesn't have are None. `text`: whether a file is
    text.
    """

    digest: str = ""
    kind: str = ""
    function: str = ""
    instance: str = ""
    instances: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    text: bool = False
    action: ActionFields | None = None
    command: CommandFields | None = None
    totals: Totals | None = None
    result: ResultFields | None = None


@dataclass(frozen=True)
class ActionFields:
    """The fields of an action. `timeout_s`: 0 = the server's default. `salt`: hexadecimal."""

    command: str = ""
    input_root: str = ""
    timeout_s: float = 0.0
    do_not_cache: bool = False
    salt: str = ""


@dataclass(frozen=True)
class CommandFields:
    """The fields of a command. `environment` and `platform`: NAME=VALUE."""

    arguments: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    platform: tuple[str, ...] = ()
    working_directory: str = ""
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class ResultFields:
    """A result. Times are in seconds since the epoch, 0 = unknown; durations in seconds.

    `written_by`: the principal that wrote the entry of the action cache; "" if it is no entry.
    `more`: how many outputs are left out. `stdout`, `stderr`: the digests, "" if there is none.
    """

    exit_code: int = 0
    outputs: tuple[Entry, ...] = ()
    more: int = 0
    stdout: str = ""
    stderr: str = ""
    worker: str = ""
    queued_at: float = 0.0
    fetched_s: float = 0.0
    executed_s: float = 0.0
    uploaded_s: float = 0.0
    written_at: float = 0.0
    written_by: str = ""
    invocation: str = ""


@dataclass(frozen=True)
class Listing:
    """The entries of a tree from `path` on, each directory before what is in it.

    `more`: the limit of entries left some out.
    """

    digest: str = ""
    path: str = ""
    entries: tuple[Entry, ...] = ()
    more: bool = False


@dataclass(frozen=True)
class Change:
    """A variable, property, field or path that differs; None where one side doesn't have it."""

    name: str = ""
    a: str | None = None
    b: str | None = None


@dataclass(frozen=True)
class FileChange:
    """A path that differs between two trees."""

    path: str = ""
    a: Entry | None = None
    b: Entry | None = None


@dataclass(frozen=True)
class ArgumentChange:
    """Arguments that one side has in place of those of the other, from the position `at` on."""

    at: int = 0
    a: tuple[str, ...] = ()
    b: tuple[str, ...] = ()


@dataclass(frozen=True)
class Differences:
    """What differs between two actions or two trees.

    `lost`: blobs that the store lacks, so that not everything could be compared. `more`: the limit
    of entries left some files out.
    """

    a: str = ""
    b: str = ""
    kind: str = ""
    arguments: tuple[ArgumentChange, ...] = ()
    environment: tuple[Change, ...] = ()
    platform: tuple[Change, ...] = ()
    fields: tuple[Change, ...] = ()
    files: tuple[FileChange, ...] = ()
    lost: tuple[str, ...] = ()
    more: bool = False
    equal: bool = field(default=False)


def entries_from(raw: object) -> tuple[Entry, ...]:
    """The entries in a JSON list."""
    return tuple(from_json(Entry, one) for one in raw) if isinstance(raw, list) else ()


def described_from(raw: Mapping[str, Any]) -> Described:
    """The object in an answer to `OBJECT`."""
    result = raw.get("result")
    return Described(
        digest=str(raw.get("digest", "")),
        kind=str(raw.get("kind", "")),
        function=str(raw.get("function", "")),
        instance=str(raw.get("instance", "")),
        instances=_texts(raw.get("instances")),
        lost=_texts(raw.get("lost")),
        text=raw.get("text") is True,
        action=_part(ActionFields, raw.get("action")),
        command=_part(CommandFields, raw.get("command")),
        totals=_part(Totals, raw.get("totals")),
        result=None if not isinstance(result, dict) else _result_from(result),
    )


def listing_from(raw: Mapping[str, Any]) -> Listing:
    """The entries in an answer to `TREE`."""
    return Listing(
        digest=str(raw.get("digest", "")),
        path=str(raw.get("path", "")),
        entries=entries_from(raw.get("entries")),
        more=raw.get("more") is True,
    )


def differences_from(raw: Mapping[str, Any]) -> Differences:
    """What differs, in an answer to `DIFFERENCES`."""
    return Differences(
        a=str(raw.get("a", "")),
        b=str(raw.get("b", "")),
        kind=str(raw.get("kind", "")),
        arguments=tuple(from_json(ArgumentChange, one) for one in _list(raw.get("arguments"))),
        environment=_changes(raw.get("environment")),
        platform=_changes(raw.get("platform")),
        fields=_changes(raw.get("fields")),
        files=tuple(
            FileChange(str(one.get("path")), _part(Entry, one.get("a")), _part(Entry, one.get("b")))
            for one in _list(raw.get("files"))
            if isinstance(one, dict)
        ),
        lost=_texts(raw.get("lost")),
        more=raw.get("more") is True,
        equal=raw.get("equal") is True,
    )


def _result_from(raw: Mapping[str, Any]) -> ResultFields:
    plain = {key: value for key, value in raw.items() if key != "outputs"}
    read = from_json(ResultFields, plain)
    return ResultFields(**{**vars(read), "outputs": entries_from(raw.get("outputs"))})


def _changes(raw: object) -> tuple[Change, ...]:
    return tuple(
        Change(str(one.get("name")), _text(one.get("a")), _text(one.get("b")))
        for one in _list(raw)
        if isinstance(one, dict)
    )


def _part(kind: Any, raw: object) -> Any:
    return from_json(kind, raw) if isinstance(raw, dict) else None


def _list(raw: object) -> list[Any]:
    return raw if isinstance(raw, list) else []


def _texts(raw: object) -> tuple[str, ...]:
    return tuple(map(str, _list(raw)))


def _text(raw: object) -> str | None:
    return raw if isinstance(raw, str) else None
