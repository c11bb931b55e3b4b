"""Executes an action again and compares the result with the cached one, byte by byte."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from google.rpc import error_details_pb2

from reapi_contract import inspection
from reapi_contract.inspection import Entry
from reapi_local.client.connection import Connection
from reapi_local.client.remote_blobs import RemoteBlobs
from reapi_local.client.unlike import why_unlike
from reapi_local.context import Context
from reapi_local.errors import MissingInputs, ReapiError
from reapi_local.execute.clients.selection import name_for_replay
from reapi_local.inspect import trees
from reapi_local.inspect.describe import outputs_of, result_fields
from reapi_local.inspect.trees import Directories
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.command import parse_action
from reapi_local.protocol.digest import Digest, digest_of, parse_digest, parse_digest_text
from reapi_local.threads import in_thread

_MAX_COMPARED_BYTES: Final = 16 * 1024 * 1024
_MAX_HINTS: Final = 50
STDOUT, STDERR, EXIT_CODE = "standard output", "standard error", "exit code"


class NoResult(ReapiError):
    """The action has no result; the message says why."""


@dataclass(frozen=True)
class Unlike:
    """What is not the same in both results. ``name``: a path, or one of the three above.

    ``a``: what the earlier result has, ``b``: the new one; "" for nothing. ``why``: in words.
    """

    name: str
    a: str
    b: str
    why: str


@dataclass(frozen=True)
class Compared:
    """Two results. ``cached``: the earlier one was in the cache; if not, both were just made.

    ``count``: how many outputs were compared. ``seconds``: how long the processes took.
    """

    cached: bool
    count: int
    exit_code: int
    seconds: tuple[float, float]
    unlike: tuple[Unlike, ...]


async def replay(
    connection: Connection, context: Context, action: Digest, tell: Callable[[str], object]
) -> Compared:
    """Execute the action and compare. ``tell`` gets a line before each step that takes long.

    What is executed is an equal action that must not be cached. So the server looks up no result
    and stores none, and the cached result stays as it is.

    Raises:
        MissingInputs: the server lacks inputs.
        NoResult: the server couldn't execute it for another reason.
        CallFailed: a call failed.
    """
    again = _Replayer(connection, context, action)
    earlier = await connection.cached_result(action)
    if earlier is None:
        tell("No result is cached, so the action runs twice.")
    first = await again.run() if earlier is None else earlier
    tell("The action runs.")
    later = await again.run()
    return await again.compare(first, later, cached=earlier is not None)


class _Replayer:
    def __init__(self, connection: Connection, context: Context, action: Digest) -> None:
        self._connection, self._context, self._action = connection, context, action
        self._blobs = RemoteBlobs(connection)

    async def run(self) -> re_pb2.ActionResult:
        """Execute the action once."""
        data = await self._read(self._action)
        parsed = parse_action(data, self._action.function)
        command = re_pb2.Command.FromString(await self._read(parsed.command))
        uncached = re_pb2.Action.FromString(data)
        uncached.do_not_cache = True
        encoded = uncached.SerializeToString(deterministic=True)
        digest = digest_of(encoded, self._action.function)
        await self._connection.write(digest, encoded)
        response = await self._connection.execute(digest, name_for_replay(command))
        if missing := _missing_in(response, self._action):
            raise MissingInputs(missing)
        if response.status.code:
            raise NoResult(response.status.message)
        return response.result

    async def _read(self, digest: Digest) -> bytes:
        found = (await self._blobs.read_many(self._context, [digest])).get(digest)
        if found is None:
            raise NoResult(f"the blob {digest} isn't in the store")
        return found

    async def compare(
        self, a: re_pb2.ActionResult, b: re_pb2.ActionResult, *, cached: bool
    ) -> Compared:
        left, right = await self._outputs(a), await self._outputs(b)
        unlike = []
        if a.exit_code != b.exit_code:
            unlike.append(Unlike(EXIT_CODE, str(a.exit_code), str(b.exit_code), ""))
        for name in sorted({*left, *right}):
            one, other = left.get(name), right.get(name)
            if one != other:
                why = await self._why(one, other, len(unlike))
                unlike.append(Unlike(name, _shown(one), _shown(other), why))
        times = [result_fields(result, self._action).executed_s for result in (a, b)]
        return Compared(
            cached, len({*left, *right}), b.exit_code, (times[0], times[1]), tuple(unlike)
        )

    async def _outputs(self, result: re_pb2.ActionResult) -> dict[str, Entry]:
        """Files and symlinks by path, those in directories, too, and both streams."""
        found: dict[str, Entry] = {}
        for entry in outputs_of(result):
            if entry.kind != inspection.DIRECTORY:
                found[entry.path] = entry
        for directory in result.output_directories:
            async for entry in self._within(directory):
                path = "/".join(filter(None, (directory.path, entry.path)))
                found[path] = Entry(
                    path, entry.kind, entry.digest, entry.size_bytes, entry.executable, entry.target
                )
        fields = result_fields(result, self._action)
        empty = str(digest_of(b"", self._action.function))
        for name, digest in ((STDOUT, fields.stdout), (STDERR, fields.stderr)):
            size = int((digest or empty).rpartition("/")[2])
            found[name] = Entry(name, inspection.FILE, digest or empty, size)
        return found

    async def _within(self, directory: re_pb2.OutputDirectory) -> AsyncIterator[Entry]:
        directories, function = Directories(self._blobs, self._context), self._action.function
        if directory.HasField("tree_digest"):
            tree = parse_digest(directory.tree_digest, function)
            root = await directories.root_of_tree(tree)
            if root is None:
                raise NoResult(f"the tree {tree} of the output {directory.path!r} is not there")
        else:
            root = parse_digest(directory.root_directory_digest, function)
        yield Entry("", inspection.DIRECTORY)
        async for entry in trees.walk(directories, root):
            if entry.kind == inspection.LOST:
                raise NoResult(f"a part of the output {directory.path!r} is not there")
            yield Entry(entry.path, entry.kind) if entry.kind == inspection.DIRECTORY else entry

    async def _why(self, a: Entry | None, b: Entry | None, so_far: int) -> str:
        if a is None or b is None:
            return "only the new result has it" if a is None else "the new result lacks it"
        if a.kind != b.kind:
            return f"it was a {a.kind}, and is a {b.kind} now"
        if a.kind != inspection.FILE:
            return ""
        if a.digest == b.digest:
            return "it is executable now" if b.executable else "it is no longer executable"
        if so_far >= _MAX_HINTS or max(a.size_bytes, b.size_bytes) > _MAX_COMPARED_BYTES:
            return ""
        pair = [await self._read(self._digest(one)) for one in (a, b)]
        return await in_thread(why_unlike, a.path, *pair)

    def _digest(self, entry: Entry) -> Digest:
        hash_hex, _, size = entry.digest.partition("/")
        return parse_digest_text(self._action.function, hash_hex, int(size))


def _missing_in(response: re_pb2.ExecuteResponse, like: Digest) -> list[Digest]:
    """The inputs that the server lacks, if that is why there is no result.

    Source: REAPI v2, rpc Execute, FAILED_PRECONDITION.
    """
    failure = error_details_pb2.PreconditionFailure()
    found = []
    for detail in response.status.details:
        if detail.Unpack(failure):
            for violation in failure.violations:
                hash_hex, _, size = violation.subject.removeprefix("blobs/").rpartition("/")
                hash_hex = hash_hex.rpartition("/")[2]
                found.append(parse_digest_text(like.function, hash_hex, int(size)))
    return found


def _shown(entry: Entry | None) -> str:
    return "" if entry is None else entry.digest or entry.target
