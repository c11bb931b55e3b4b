"""Looks at what a server holds: one object, a tree, the bytes of a blob, two objects compared."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, TypeAlias, TypeVar

from google.protobuf.message import DecodeError

from reapi_contract import inspection
from reapi_contract.inspection import (
    MAX_PIECE_BYTES,
    ActionFields,
    CommandFields,
    Described,
    Differences,
    FileChange,
    Listing,
    ResultFields,
    Totals,
)
from reapi_contract.masks import Masks
from reapi_local.access.principal import Principal
from reapi_local.context import Context
from reapi_local.errors import BlobNotFound, InvalidRequest, ObjectNotFound
from reapi_local.inspect import compare, describe, trees
from reapi_local.inspect.entries import digest_in
from reapi_local.inspect.held import Blobs, Entries, Finder, Meant
from reapi_local.inspect.kinds import is_text, kind_of
from reapi_local.inspect.trees import Directories
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import EMPTY_BLOBS, Digest, parse_digest
from reapi_local.protocol.lookup import Hit
from reapi_local.threads import in_thread, in_thread_if_long

_M = TypeVar("_M", re_pb2.Action, re_pb2.Command, re_pb2.ActionResult)

_MAX_JUDGED_BYTES: Final = 4 * 1024 * 1024
"""A larger blob counts as a file: no action and no command is as large."""
_JUDGED_START_BYTES: Final = 4096


_Whole: TypeAlias = tuple[ActionFields, CommandFields]


class _Action(NamedTuple):
    """An action and its command, each None if the store lacks its blob."""

    fields: ActionFields | None
    command: CommandFields | None
    root: Digest | None
    lost: tuple[str, ...]

    @property
    def whole(self) -> _Whole | None:
        return (self.fields, self.command) if self.fields and self.command else None


@dataclass(frozen=True)
class Asked:
    """How objects are named and shown. ``kind``: what the blob is taken for, "" = judge it.

    ``secrets``: whether secret values are shown.
    """

    instance: str | None = None
    kind: str = ""
    secrets: bool = False


class Inspector:
    """Looks at a store in the name of ``principal``. It changes nothing and emits no events."""

    def __init__(self, blobs: Blobs, entries: Entries, principal: Principal, masks: Masks) -> None:
        self._blobs, self._entries, self._masks = blobs, entries, masks
        self._finder = Finder(blobs, entries, principal)

    async def describe(self, text: str, asked: Asked) -> Described:
        """One object.

        Raises:
            ObjectNotFound: there is no such object.
            InvalidRequest: the text is no digest, or means several actions, or the blob isn't of
                the kind that was asked for.
        """
        meant = self._finder.find(text, asked.instance)
        kind, data = await self._judge(meant, asked.kind)
        described = Described(
            str(meant.digest),
            kind,
            meant.digest.function.name,
            meant.context.instance,
            meant.instances,
        )
        match kind:
            case inspection.ACTION:
                return await self._describe_action(meant, described, asked)
            case inspection.COMMAND:
                command = _parsed(re_pb2.Command, data)
                fields = describe.command_fields(command, re_pb2.Platform())
                return replace(described, command=self._shown(fields, asked))
            case inspection.DIRECTORY | inspection.TREE_MESSAGE:
                return await self._describe_tree(meant, described)
            case inspection.RESULT:
                result = _parsed(re_pb2.ActionResult, data)
                return replace(described, result=describe.result_fields(result, meant.digest))
        return replace(described, text=is_text(data))

    def _shown(self, command: CommandFields, asked: Asked) -> CommandFields:
        return command if asked.secrets else describe.without_secrets(command, self._masks)

    async def _judge(self, meant: Meant, wanted: str) -> tuple[str, bytes]:
        """What the object is, and the content of its blob; of a large one the beginning."""
        if wanted and wanted not in inspection.KINDS:
            raise InvalidRequest(f"{wanted[:50]!r} is none of {', '.join(inspection.KINDS)}")
        digest = meant.digest
        if meant.instances and wanted in ("", inspection.ACTION):
            return inspection.ACTION, b""
        limit = 0 if digest.size_bytes <= _MAX_JUDGED_BYTES or wanted else _JUDGED_START_BYTES
        if wanted and digest.size_bytes > trees.MAX_MESSAGE_BYTES:
            raise InvalidRequest(f"{digest} is too large for a message")
        data = await self._start_of(meant.context, digest, limit)
        if wanted:
            return wanted, data
        if limit:
            return inspection.FILE, data
        return await in_thread_if_long(len(data), kind_of, data, digest.function), data

    async def _start_of(self, context: Context, digest: Digest, limit: int) -> bytes:
        """The first bytes of a blob, all if ``limit`` is 0. Raises ObjectNotFound."""
        if digest in EMPTY_BLOBS:
            return b""
        try:
            async with self._blobs.open_read(context, digest, 0, limit) as reader:
                pieces = []
                while piece := await reader.read(MAX_PIECE_BYTES):
                    pieces.append(piece)
                return b"".join(pieces)
        except BlobNotFound as error:
            raise ObjectNotFound(f"the blob {digest} isn't in the store") from error

    async def _describe_action(self, meant: Meant, shown: Described, asked: Asked) -> Described:
        action = await self._action(meant, asked)
        counted, lost = None, action.lost
        if action.root is not None:
            counted, more = await self._totals(meant.context, action.root, "input root")
            lost += more
        return replace(
            shown,
            action=action.fields,
            command=action.command,
            totals=counted,
            result=await self._result(meant),
            lost=lost,
        )

    async def _result(self, meant: Meant) -> ResultFields | None:
        if not meant.instances:
            return None
        found = await self._entries.get(meant.context, meant.digest)
        return describe.entry_fields(found.stored, meant.digest) if isinstance(found, Hit) else None

    async def _action(self, meant: Meant, asked: Asked) -> _Action:
        """An action as far as the store has it.

        Raises:
            InvalidRequest: the blob is no Action, or names no Command.
        """
        digest = meant.digest
        blobs = await self._blobs.read_many(meant.context, [digest])
        if digest not in blobs:
            return _Action(None, None, None, (f"the action {digest}",))
        action = _parsed(re_pb2.Action, blobs[digest])
        command_digest = parse_digest(action.command_digest, digest.function)
        root = parse_digest(action.input_root_digest, digest.function)
        fields = describe.action_fields(action)
        if command_digest.size_bytes > trees.MAX_MESSAGE_BYTES:
            raise InvalidRequest(f"{command_digest} is too large for a Command")
        blobs = await self._blobs.read_many(meant.context, [command_digest])
        if command_digest not in blobs:
            return _Action(fields, None, root, (f"the command {command_digest}",))
        command = _parsed(re_pb2.Command, blobs[command_digest])
        shown = self._shown(describe.command_fields(command, action.platform), asked)
        return _Action(fields, shown, root, ())

    async def _totals(
        self, context: Context, root: Digest, what: str
    ) -> tuple[Totals | None, tuple[str, ...]]:
        """How much is in a tree, and what of it is lost; None if it has too much to be counted."""
        directories = Directories(self._blobs, context)
        if await directories.get(root) is None:
            return None, (f"the {what} {root}",)
        try:
            counted = await trees.totals(directories, root)
        except trees.TooLargeToShow:
            return None, ()
        lost = (f"{counted.missing} directories of the {what}",) if counted.missing else ()
        return counted, lost

    async def _describe_tree(self, meant: Meant, shown: Described) -> Described:
        directories = Directories(self._blobs, meant.context)
        root = await self._root(meant, shown.kind, directories)
        counted = await trees.totals(directories, root)
        lost = (f"{counted.missing} directories",) if counted.missing else ()
        return replace(shown, totals=counted, lost=lost)

    async def _root(self, meant: Meant, kind: str, directories: Directories) -> Digest:
        """The root Directory of an action's inputs, of a Tree, or the Directory itself.

        Raises:
            InvalidRequest: it is a file, a command or a result.
            ObjectNotFound: the store lacks it.
        """
        match kind:
            case inspection.ACTION:
                root = (await self._action(meant, Asked())).root
            case inspection.TREE_MESSAGE:
                root = await directories.root_of_tree(meant.digest)
            case inspection.DIRECTORY:
                root = meant.digest
            case _:
                if meant.digest not in EMPTY_BLOBS:
                    raise InvalidRequest(
                        f"{meant.digest} is a {kind}: name an action, a directory or a tree"
                    )
                root = meant.digest
        if root is None:
            raise ObjectNotFound(f"the {kind} {meant.digest} isn't in the store")
        if await directories.get(root) is None:
            raise ObjectNotFound(f"the input root {root} isn't in the store")
        return root

    async def tree(self, text: str, asked: Asked, path: str, depth: int, limit: int) -> Listing:
        """What is in a tree: an action's inputs, a directory or a Tree.

        Raises:
            ObjectNotFound, InvalidRequest: as :meth:`describe`; or nothing is at ``path``.
        """
        meant = self._finder.find(text, asked.instance)
        directories = Directories(self._blobs, meant.context)
        root = await self._root(meant, (await self._judge(meant, asked.kind))[0], directories)
        start = await trees.at_path(directories, root, path)
        if start.kind != inspection.DIRECTORY:
            return Listing(str(root), path, (start,))
        entries: list[inspection.Entry] = []
        here = digest_in(start, root)
        async for entry in trees.walk(directories, here, depth):
            if len(entries) == limit:
                return Listing(start.digest, path, tuple(entries), more=True)
            entries.append(entry)
        return Listing(start.digest, path, tuple(entries))

    async def piece(self, text: str, asked: Asked, offset: int, limit: int) -> str:
        """A part of a blob in base64, "" at its end.

        Raises:
            ObjectNotFound, InvalidRequest: as :meth:`describe`.
        """
        meant = self._finder.find(text, asked.instance)
        if offset >= meant.digest.size_bytes:
            return ""
        try:
            async with self._blobs.open_read(meant.context, meant.digest, offset, limit) as reader:
                data = bytearray()
                while piece := await reader.read(limit):
                    data += piece
        except BlobNotFound as error:
            raise ObjectNotFound(f"the blob {meant.digest} isn't in the store") from error
        return base64.b64encode(data).decode()

    async def compare(self, texts: tuple[str, str], asked: Asked, path: str) -> Differences:
        """What differs between two actions or two trees; of the trees only what is at ``path``.

        Raises:
            ObjectNotFound, InvalidRequest: as :meth:`describe`; or they can't be compared.
        """
        a, b = (self._finder.find(text, asked.instance) for text in texts)
        kinds = [(await self._judge(one, asked.kind))[0] for one in (a, b)]
        if kinds == [inspection.ACTION] * 2:
            return await self._compare_actions(a, b, asked, path)
        directories = Directories(self._blobs, a.context)
        left = await self._root(a, kinds[0], directories)
        right = await self._root(b, kinds[1], directories)
        found = Differences(str(a.digest), str(b.digest), inspection.DIRECTORY)
        return await self._with_files(found, directories, (left, right), path)

    async def _compare_actions(self, a: Meant, b: Meant, asked: Asked, path: str) -> Differences:
        left, right = await self._action(a, asked), await self._action(b, asked)
        found = Differences(
            str(a.digest), str(b.digest), inspection.ACTION, lost=(*left.lost, *right.lost)
        )
        if left.whole and right.whole:
            found = await in_thread(_with_commands, found, left.whole, right.whole)
        if left.root is None or right.root is None:
            return found
        directories = Directories(self._blobs, a.context)
        await directories.fetch((left.root, right.root))
        return await self._with_files(found, directories, (left.root, right.root), path)

    async def _with_files(
        self, found: Differences, directories: Directories, roots: tuple[Digest, Digest], path: str
    ) -> Differences:
        files: list[FileChange] = []
        lost, more, within = list(found.lost), False, path.strip("/")
        async for change in trees.differences(directories, *roots):
            kinds = {side.kind for side in (change.a, change.b) if side}
            if inspection.LOST in kinds:
                lost.append(f"the directory {change.path or 'at the top'}")
            elif within and not f"{change.path}/".startswith(f"{within}/"):
                continue
            elif len(files) == inspection.MAX_ENTRIES:
                more = True
                break
            else:
                files.append(change)
        is_equal = not lost and roots[0] == roots[1]
        same = not (found.arguments or found.environment or found.platform or found.fields)
        return replace(
            found, files=tuple(files), lost=tuple(lost), more=more, equal=is_equal and same
        )


def _parsed(kind: type[_M], data: bytes) -> _M:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise InvalidRequest(f"the blob isn't a message of type {kind.DESCRIPTOR.name}") from error


def _with_commands(found: Differences, a: _Whole, b: _Whole) -> Differences:
    return replace(
        found,
        arguments=compare.argument_changes(a[1].arguments, b[1].arguments),
        environment=compare.pair_changes(a[1].environment, b[1].environment),
        platform=compare.pair_changes(a[1].platform, b[1].platform),
        fields=compare.field_changes(a, b),
    )
