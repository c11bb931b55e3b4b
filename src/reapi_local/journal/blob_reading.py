"""Reads Actions, Commands and Directories for the journal, a few at a time.

It is a task of its own, and begins when clients make no calls for a moment, or when somebody asks
for what it would find. What finds no room in its queue is not read.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from reapi_contract.masks import Masks
from reapi_local.access.principal import OWNER
from reapi_local.clock import Clock, set_within
from reapi_local.context import Context
from reapi_local.errors import InvalidRequest
from reapi_local.journal.action_blobs import ParsedBlobs, parsed, tree_bytes
from reapi_local.journal.entries import ActionRead, TreeRead, Unread
from reapi_local.journal.intake import Intake
from reapi_local.protocol.command import ParsedAction, parse_action
from reapi_local.protocol.digest import Digest
from reapi_local.protocol.tree import child_digests, parse_directory
from reapi_local.store.blob_store import BlobStore
from reapi_local.threads import in_thread

_log = logging.getLogger(__name__)
_CONTEXT: Final = Context(OWNER, "", b"")
_MAX_UNREAD: Final = 10_000
_MAX_ROOTS: Final = 2000
_SLICE: Final = 32
_PAUSE_SECONDS: Final = 0.5
_MAX_PAUSES: Final = 60
_MAX_BLOB_BYTES: Final = 4 * 1024 * 1024
_MAX_DIRECTORIES: Final = 20_000
_MAX_TREE_BYTES: Final = 16 * 1024 * 1024

Known = Callable[[Sequence[Digest]], dict[Digest, bytes]]


class BlobReading:
    """What it reads goes into the intake. ``known`` finds Directories that the journal has."""

    def __init__(
        self, blobs: BlobStore, intake: Intake, masks: Masks, known: Known, clock: Clock
    ) -> None:
        self._blobs, self._intake, self._masks = blobs, intake, masks
        self._known, self._clock = known, clock
        self._unread: deque[Unread] = deque(maxlen=_MAX_UNREAD)
        self._roots: dict[Digest, None] = {}
        self._wake, self._hurry = asyncio.Event(), asyncio.Event()
        self._idle = asyncio.Event()
        self._own = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start to read."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def idle(self) -> None:
        """Wait until all is read that was wanted so far."""
        if self._wake.is_set():
            self._hurry.set()
            await self._idle.wait()

    def want(self, unread: Iterable[Unread], roots: Iterable[Digest]) -> None:
        """Read these actions, and the Directories of these input roots."""
        self._unread.extend(unread)
        for root in roots:
            self._want_root(root)
        if self._unread or self._roots:
            self._idle.clear()
            self._wake.set()

    def _want_root(self, root: Digest) -> None:
        if len(self._roots) < _MAX_ROOTS:
            self._roots[root] = None

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            await self._quiet()
            while (self._unread or self._roots) and await self._has_read_undisturbed():
                pass
            if not self._unread and not self._roots:
                self._wake.clear()
                self._hurry.clear()
                self._idle.set()

    async def _has_read_undisturbed(self) -> bool:
        """Read some; whether it is urgent, or nobody else told the journal of anything."""
        before, self._own = self._intake.count, 0
        try:
            await self._read_some()
        except Exception:
            _log.exception("blobs of actions were not read for the journal")
        return self._hurry.is_set() or self._intake.count == before + self._own

    def _put(self, entry: ActionRead | TreeRead, size_bytes: int) -> None:
        self._own += self._intake.put(entry, size_bytes)

    async def _quiet(self) -> None:
        """Wait until there are no calls for a moment, but not without end."""
        for _ in range(_MAX_PAUSES):
            before = self._intake.count
            if await set_within(self._hurry, _PAUSE_SECONDS, self._clock):
                return
            if self._intake.count == before:
                return

    async def _read_some(self) -> None:
        if self._unread:
            count = min(_SLICE, len(self._unread))
            await self._read_actions([self._unread.popleft() for _ in range(count)])
        elif self._roots:
            root = next(iter(self._roots))
            del self._roots[root]
            await self._keep_tree(root, {})

    async def _read_actions(self, wanted: Sequence[Unread]) -> None:
        actions: dict[Digest, ParsedAction] = {}
        for digest, data in (await self._read([one.action for one in wanted])).items():
            try:
                actions[digest] = parse_action(data, digest.function)
            except InvalidRequest:  # some clients have keys that are no actions
                continue
        commands = await self._read([action.command for action in actions.values()])
        roots = await self._read([action.input_root for action in actions.values()])
        trees = await self._read([tree for one in wanted for tree in one.trees])
        for one in wanted:
            action = actions.get(one.action)
            command = commands.get(action.command) if action else None
            if action is None or command is None:
                continue
            root = roots.get(action.input_root)
            try:
                found = await in_thread(parsed, one, action, command, root, self._masks)
                size = await in_thread(
                    tree_bytes, [trees[tree] for tree in one.trees if tree in trees]
                )
            except InvalidRequest:
                continue
            self._put_action(one, found, size)
            if one.was_executed:
                await self._keep_tree(found.input_root, found.own_roots)

    def _put_action(self, one: Unread, found: ParsedBlobs, size: int) -> None:
        entry = ActionRead(
            *(self._clock.now(), one.action, found.definition),
            *(found.input_root, found.link, size),
        )
        self._put(entry, len(found.definition))

    async def _keep_tree(self, root: Digest, given: dict[Digest, bytes]) -> None:
        """Read the Directories of a tree and put them into the intake, if all of them are there."""
        found: dict[Digest, bytes] = {}
        waiting, size = [root], 0
        while waiting:
            part, waiting = waiting[:_SLICE], waiting[_SLICE:]
            bodies = {digest: given[digest] for digest in part if digest in given}
            bodies |= await in_thread(self._known, [one for one in part if one not in bodies])
            bodies |= await self._read([digest for digest in part if digest not in bodies])
            found |= bodies
            size += sum(map(len, bodies.values()))
            is_too_much = len(found) > _MAX_DIRECTORIES or size > _MAX_TREE_BYTES
            if is_too_much or any(digest not in bodies for digest in part):
                return
            try:
                children = await in_thread(_children, bodies)
            except InvalidRequest:
                return
            waiting = list(dict.fromkeys([*waiting, *(c for c in children if c not in found)]))
        self._put(TreeRead(self._clock.now(), root, tuple(found.items())), size)

    async def _read(self, digests: Iterable[Digest]) -> dict[Digest, bytes]:
        wanted = [one for one in dict.fromkeys(digests) if one.size_bytes <= _MAX_BLOB_BYTES]
        return dict(await self._blobs.read_many(_CONTEXT, wanted)) if wanted else {}


def _children(bodies: dict[Digest, bytes]) -> list[Digest]:
    return [
        child
        for digest, body in bodies.items()
        for child in child_digests(parse_directory(body), digest.function)
    ]
