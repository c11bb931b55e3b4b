"""Collects an action's outputs as an ActionResult: files, directories and symlinks.

Source: REAPI v2, messages ``Command`` (outputs), ``ActionResult`` and ``Tree``. Reads only below
the input root, in the calling thread, after all processes of the action have exited.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import UInt32Value

from reapi_local.errors import BadOutput
from reapi_local.execute.local.open_beneath import (
    PathEscapes,
    open_directory,
    open_file,
    open_parent,
    resolves_below,
)
from reapi_local.execute.local.output_sizes import OutputSizes
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.command import Output, OutputKind, ParsedCommand
from reapi_local.protocol.digest import (
    Digest,
    DigestFunction,
    digest_of,
    make_digest,
    new_hasher,
)
from reapi_local.protocol.paths import MAX_DEPTH
from reapi_local.store.blob_store import Blob

IN_MEMORY_BYTES: Final = 64 * 1024
"""Files up to this size are returned as bytes, larger ones as open descriptors."""

_MAX_BATCH_BYTES: Final = 16 * 1024 * 1024
_MAX_BATCH_BLOBS: Final = 10_000
_CHUNK_BYTES: Final = 1024 * 1024
_MACHINE_ERRORS: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO)
"""Errors that this machine is to blame for, not the action."""
# Tags of a Tree's fields `root` = 1 and `children` = 2: field number << 3 | 2, length-delimited.
_ROOT_TAG, _CHILD_TAG = b"\x0a", b"\x12"


@dataclass(frozen=True)
class LargeFile:
    """A blob to read from ``fd`` with pread. ``fd`` is closed when the next piece is requested."""

    digest: Digest
    fd: int


Piece: TypeAlias = list[Blob] | LargeFile
CancelCheck: TypeAlias = Callable[[], None]
"""Raises an exception once the work is cancelled. Large files can take minutes to read."""


def never_cancelled() -> None:
    """The work is never cancelled."""


_T = TypeVar("_T")
_Pieces: TypeAlias = Generator[Piece, None, _T]


class Outputs:
    """The outputs of one action, below the open directory ``root_fd``.

    Iterating yields the blobs to store, one batch or one large file at a time. After the last one,
    ``result`` refers to all of them, and ``last_batch`` has blobs that weren't yielded because they
    didn't fill a batch. To stop early, close the iterator; that closes all open files.

    Args:
        follow: for an output that is a symlink to a path below the root, collect that path instead
            of the symlink.
        cancel_check: called repeatedly; iterating raises what it raises.

    Raises (while iterating):
        BadOutput: an output has the wrong type or can't be read.
    """

    def __init__(
        self,
        root_fd: int,
        command: ParsedCommand,
        function: DigestFunction,
        *,
        follow: bool,
        cancel_check: CancelCheck = never_cancelled,
    ) -> None:
        self._root_fd, self._command, self._follow = root_fd, command, follow
        self._builder = _Builder(function, command.output_properties, cancel_check)
        self.result = re_pb2.ActionResult()

    @property
    def last_batch(self) -> list[Blob]:
        return self._builder.batch

    def __iter__(self) -> _Pieces[None]:
        for output in dict.fromkeys(self._command.outputs):
            yield from self._collect(output)

    def _collect(self, output: Output) -> _Pieces[None]:
        try:
            follow = self._follow and resolves_below(self._root_fd, output.place)
            with open_parent(self._root_fd, output.place, follow=follow) as (parent, name):
                yield from self._add(output, parent, name)
        except (FileNotFoundError, NotADirectoryError):
            return  # an action need not create all of its outputs
        except PathEscapes as error:
            raise BadOutput(f"output {output.path!r} can't be collected: {error}") from error
        except OSError as error:
            if error.errno in _MACHINE_ERRORS:
                raise
            raise BadOutput(
                f"output {output.path!r} can't be read: {error}; change the action so that the "
                "owner of its outputs can read them"
            ) from error

    def _add(self, output: Output, parent: int, name: str) -> _Pieces[None]:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        mode, kind = status.st_mode, output.kind
        if stat.S_ISLNK(mode):
            # A command with the deprecated fields for output files and directories gets symlinks
            # in the deprecated fields of the result.
            links = {
                OutputKind.ANY: self.result.output_symlinks,
                OutputKind.FILE: self.result.output_file_symlinks,
                OutputKind.DIRECTORY: self.result.output_directory_symlinks,
            }
            links[kind].add(
                path=output.path,
                target=_check_utf8(os.readlink(name, dir_fd=parent)),
                node_properties=self._builder.properties(status),
            )
        elif stat.S_ISREG(mode) and kind is not OutputKind.DIRECTORY:
            node = yield from self._builder.file(parent, name)
            self.result.output_files.add(
                path=output.path,
                digest=node.digest,
                is_executable=node.is_executable,
                node_properties=self._builder.properties(status),
            )
        elif stat.S_ISDIR(mode) and kind is not OutputKind.FILE:
            yield from self._add_directory(output, parent, name)
        else:
            raise BadOutput(
                f"output {output.path!r} is {_type_in_words(mode)}, but the command declares a "
                f"{kind.value}"
            )

    def _add_directory(self, output: Output, parent: int, name: str) -> _Pieces[None]:
        below: dict[Digest, bytes] = {}
        root = yield from self._builder.directory(parent, name, below, 0)
        wanted = self._command.directory_format
        entry = self.result.output_directories.add(path=output.path)
        if wanted != re_pb2.Command.DIRECTORY_ONLY:
            # `below` has children before parents, and a topologically sorted Tree the reverse.
            tree = _encode_tree(root, reversed(below.values()))
            entry.tree_digest.CopyFrom((yield from self._builder.add_blob(tree)))
            entry.is_topologically_sorted = True
        if wanted in (re_pb2.Command.DIRECTORY_ONLY, re_pb2.Command.TREE_AND_DIRECTORY):
            for directory in below.values():
                yield from self._builder.add_blob(directory)
            digest = yield from self._builder.add_blob(root)
            entry.root_directory_digest.CopyFrom(digest)


class _Builder:
    """Builds FileNode and Directory messages. ``batch`` collects small blobs until it is full."""

    def __init__(
        self, function: DigestFunction, properties: tuple[str, ...], cancel_check: CancelCheck
    ) -> None:
        self._function, self._properties = function, properties
        self._cancel_check = cancel_check
        self._batch_bytes = 0
        self._sizes = OutputSizes()
        self.batch: list[Blob] = []

    def add_blob(self, data: bytes) -> _Pieces[re_pb2.Digest]:
        """Add a blob to the batch, and yield the batch if that fills it."""
        digest = digest_of(data, self._function)
        self.batch.append((digest, data))
        self._batch_bytes += len(data)
        if self._batch_bytes > _MAX_BATCH_BYTES or len(self.batch) >= _MAX_BATCH_BLOBS:
            batch, self.batch, self._batch_bytes = self.batch, [], 0
            yield batch
        return _message(digest)

    def file(self, parent: int, name: str) -> _Pieces[re_pb2.FileNode]:
        fd = open_file(parent, name)
        try:
            status = os.fstat(fd)
            self._sizes.add(status)
            node = re_pb2.FileNode(
                name=_check_utf8(name),
                is_executable=bool(status.st_mode & stat.S_IXUSR),
                node_properties=self.properties(status),
            )
            data = _read_start(fd)
            if len(data) <= IN_MEMORY_BYTES:
                node.digest.CopyFrom((yield from self.add_blob(data)))
                return node
            digest = _digest_of_file(fd, data, self._function, self._cancel_check)
            node.digest.CopyFrom(_message(digest))
            yield LargeFile(digest, fd)
            return node
        finally:
            os.close(fd)

    def directory(
        self, parent: int, name: str, below: dict[Digest, bytes], depth: int
    ) -> _Pieces[bytes]:
        """The encoded Directory. Its entries of each type are sorted by name, as REAPI requires.

        Adds all directories below it to ``below``, each once, children before parents.
        """
        if depth > MAX_DEPTH:
            raise BadOutput(f"an output directory is over {MAX_DEPTH} levels deep")
        message = re_pb2.Directory()
        fd = open_directory(parent, name)
        try:
            properties = self.properties(os.fstat(fd))
            if properties is not None:
                message.node_properties.CopyFrom(properties)
            with os.scandir(fd) as entries:
                found = sorted(entries, key=lambda entry: os.fsencode(entry.name))
            for entry in found:
                yield from self._add_entry(message, fd, entry, below, depth)
        finally:
            os.close(fd)
        return message.SerializeToString(deterministic=True)

    def _add_entry(
        self,
        message: re_pb2.Directory,
        fd: int,
        entry: os.DirEntry[str],
        below: dict[Digest, bytes],
        depth: int,
    ) -> _Pieces[None]:
        name = _check_utf8(entry.name)
        if entry.is_symlink():
            message.symlinks.add(
                name=name,
                target=_check_utf8(os.readlink(name, dir_fd=fd)),
                node_properties=self.properties(entry.stat(follow_symlinks=False)),
            )
        elif entry.is_file(follow_symlinks=False):
            message.files.append((yield from self.file(fd, name)))
        elif entry.is_dir(follow_symlinks=False):
            child = yield from self.directory(fd, name, below, depth + 1)
            digest = digest_of(child, self._function)
            below[digest] = child
            message.directories.add(name=name, digest=_message(digest))
        else:
            mode = entry.stat(follow_symlinks=False).st_mode
            raise BadOutput(
                f"an output directory contains {_type_in_words(mode)}, {name!r}; REAPI supports "
                "only files, directories and symlinks, so the action must remove it before it ends"
            )

    def properties(self, status: os.stat_result) -> re_pb2.NodeProperties | None:
        """The node properties that the command asks for; None if it asks for none."""
        if not self._properties:
            return None
        properties = re_pb2.NodeProperties()
        if "mtime" in self._properties:
            seconds, nanos = divmod(status.st_mtime_ns, 1_000_000_000)
            properties.mtime.CopyFrom(Timestamp(seconds=seconds, nanos=nanos))
        if "unix_mode" in self._properties:
            properties.unix_mode.CopyFrom(UInt32Value(value=stat.S_IMODE(status.st_mode)))
        return properties


def digest_of_file(
    fd: int, function: DigestFunction, cancel_check: CancelCheck = never_cancelled
) -> Digest:
    """The digest of an open file's content, read from offset 0.

    Raises:
        BadOutput: it is too large, or has too many holes.
        Exception: what ``cancel_check`` raises.
    """
    OutputSizes().add(os.fstat(fd))
    return _digest_of_file(fd, b"", function, cancel_check)


def _digest_of_file(
    fd: int, start: bytes, function: DigestFunction, cancel_check: CancelCheck
) -> Digest:
    """``start``: the first bytes of the file, which have been read already."""
    hasher = new_hasher(function)
    hasher.update(start)
    length = len(start)
    while chunk := os.pread(fd, _CHUNK_BYTES, length):
        cancel_check()
        hasher.update(chunk)
        length += len(chunk)
    return make_digest(function, hasher.digest(), length)


def _read_start(fd: int) -> bytes:
    """All bytes of a file of up to ``IN_MEMORY_BYTES``, or one byte more of a larger file."""
    data = os.read(fd, IN_MEMORY_BYTES + 1)
    while 0 < len(data) <= IN_MEMORY_BYTES:
        more = os.read(fd, IN_MEMORY_BYTES + 1 - len(data))
        if not more:
            break
        data += more
    return data


def _encode_tree(root: bytes, children: Iterable[bytes]) -> bytes:
    """A Tree message made of Directories that are encoded already.

    The Directories had to be encoded for their digests, and the library would have to parse or copy
    each of them to build a Tree (5x slower). A message field is encoded as its tag, the length as
    a varint and the encoded message: https://protobuf.dev/programming-guides/encoding/#submessages.
    """
    fields = [(_ROOT_TAG, root), *((_CHILD_TAG, child) for child in children)]
    return b"".join(tag + _varint(len(data)) + data for tag, data in fields)


def _varint(number: int) -> bytes:
    """Base 128, least significant group first; the high bit is set in all bytes but the last."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*encoded, number))


def _message(digest: Digest) -> re_pb2.Digest:
    return re_pb2.Digest(hash=digest.hash_hex, size_bytes=digest.size_bytes)


def _check_utf8(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise BadOutput(
            f"an output has a name or a symlink target that isn't UTF-8, as REAPI requires: "
            f"{os.fsencode(name)!r}"
        ) from None
    return name


def _type_in_words(mode: int) -> str:
    words = {
        stat.S_IFREG: "a file",
        stat.S_IFDIR: "a directory",
        stat.S_IFSOCK: "a socket",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return words.get(stat.S_IFMT(mode), "an unsupported file type")
