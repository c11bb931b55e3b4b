"""What an action left behind, as an action result: files, directories and symlinks.

Source: REAPI v2, messages ``Command`` (outputs), ``ActionResult`` and ``Tree``. Reads only below
the input root, in the calling thread, after every process of the action has ended.
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
from reapi_local.execute.local.beneath import (
    MAX_LEVELS,
    Escapes,
    ends_below,
    open_directory,
    open_file,
    parent_of,
)
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.command import Output, OutputKind, ParsedCommand
from reapi_local.protocol.digest import (
    Digest,
    DigestFunction,
    digest_of,
    make_digest,
    new_hasher,
)
from reapi_local.store.blob_store import Blob

IN_MEMORY_BYTES: Final = 64 * 1024
"""Files up to this size are handed on as bytes, larger ones as open files."""

MAX_BYTES: Final = 64 * 1024**3
"""Of all files: a file with holes costs its action nothing, and its readers their time."""

_BATCH_BYTES: Final = 16 * 1024 * 1024
_BATCH_BLOBS: Final = 10_000
_CHUNK_BYTES: Final = 1024 * 1024
_OUR_OWN: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO)
"""Errors that tell of this machine, and nothing of the action."""


@dataclass(frozen=True)
class LargeFile:
    """A blob to be read from ``fd`` with pread, before the next piece is asked for."""

    digest: Digest
    fd: int


Piece: TypeAlias = list[Blob] | LargeFile
GoOn: TypeAlias = Callable[[], None]
"""Raises when what it is asked about isn't wanted any more: files may take minutes to read."""


def always() -> None:
    """What is read is wanted to its end."""


_T = TypeVar("_T")
_Pieces: TypeAlias = Generator[Piece, None, _T]


class Outputs:
    """The outputs of one action, below the open directory ``root_fd``.

    Iterate to the end: it hands out blobs to store, a batch or a large file at a time. ``result``
    then names them all, and ``rest`` has the blobs that filled no batch. Who stops before the end
    closes the iterator, and with it all files.

    Args:
        working_directory: what output paths are relative to.
        follow: deliver what a symlink among the outputs leads to, where that is below the root,
            and not the symlink.
        go_on: called again and again; what it raises ends the work.

    Raises (while iterating):
        BadOutput: an output is of the wrong kind, or can't be read.
    """

    def __init__(
        self,
        root_fd: int,
        command: ParsedCommand,
        working_directory: str,
        function: DigestFunction,
        *,
        follow: bool,
        go_on: GoOn = always,
    ) -> None:
        self._root_fd, self._command = root_fd, command
        self._start, self._follow = working_directory, follow
        self._builder = _Builder(function, command.output_properties, go_on)
        self.result = re_pb2.ActionResult()

    @property
    def rest(self) -> list[Blob]:
        return self._builder.small

    def __iter__(self) -> _Pieces[None]:
        for output in dict.fromkeys(self._command.outputs):
            yield from self._collect(output)

    def _collect(self, output: Output) -> _Pieces[None]:
        path = f"{self._start}/{output.path}"
        try:
            follow = self._follow and ends_below(self._root_fd, path)
            with parent_of(self._root_fd, path, follow=follow) as (parent, name):
                yield from self._add(output, parent, name)
        except (FileNotFoundError, NotADirectoryError):
            return  # an output may be absent
        except Escapes as error:
            raise BadOutput(f"output {output.path!r} can't be collected: {error}") from error
        except OSError as error:
            if error.errno in _OUR_OWN:
                raise
            raise BadOutput(
                f"output {output.path!r} can't be read: {error}; let the action leave files and "
                "directories that their owner can read"
            ) from error

    def _add(self, output: Output, parent: int, name: str) -> _Pieces[None]:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        mode, kind = status.st_mode, output.kind
        if stat.S_ISLNK(mode):
            # Clients that list files and directories apart look for symlinks in the older fields.
            links = {
                OutputKind.ANY: self.result.output_symlinks,
                OutputKind.FILE: self.result.output_file_symlinks,
                OutputKind.DIRECTORY: self.result.output_directory_symlinks,
            }
            links[kind].add(
                path=output.path,
                target=_checked(os.readlink(name, dir_fd=parent)),
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
                f"output {output.path!r} is {_kind(mode)}, the command declares a {kind.value}"
            )

    def _add_directory(self, output: Output, parent: int, name: str) -> _Pieces[None]:
        below: dict[Digest, bytes] = {}
        root = yield from self._builder.directory(parent, name, below, 0)
        wanted = self._command.directory_format
        entry = self.result.output_directories.add(path=output.path)
        if wanted != re_pb2.Command.DIRECTORY_ONLY:
            # A directory comes after all it contains: the other way round is the order REAPI likes.
            tree = _encoded_tree(root, reversed(below.values()))
            entry.tree_digest.CopyFrom((yield from self._builder.keep(tree)))
            entry.is_topologically_sorted = True
        if wanted in (re_pb2.Command.DIRECTORY_ONLY, re_pb2.Command.TREE_AND_DIRECTORY):
            for directory in below.values():
                yield from self._builder.keep(directory)
            digest = yield from self._builder.keep(root)
            entry.root_directory_digest.CopyFrom(digest)


class _Builder:
    """Messages for files and directories; ``small`` collects the blobs they name."""

    def __init__(self, function: DigestFunction, properties: tuple[str, ...], go_on: GoOn) -> None:
        self._function, self._properties, self._go_on = function, properties, go_on
        self._batch_bytes = self._file_bytes = 0
        self.small: list[Blob] = []

    def keep(self, data: bytes) -> _Pieces[re_pb2.Digest]:
        digest = digest_of(data, self._function)
        self.small.append((digest, data))
        self._batch_bytes += len(data)
        if self._batch_bytes > _BATCH_BYTES or len(self.small) >= _BATCH_BLOBS:
            batch, self.small, self._batch_bytes = self.small, [], 0
            yield batch
        return _message(digest)

    def file(self, parent: int, name: str) -> _Pieces[re_pb2.FileNode]:
        fd = open_file(parent, name)
        try:
            status = os.fstat(fd)
            self._file_bytes += status.st_size
            _check_size(self._file_bytes)
            node = re_pb2.FileNode(
                name=_checked(name),
                is_executable=bool(status.st_mode & stat.S_IXUSR),
                node_properties=self.properties(status),
            )
            data = _start_of(fd)
            if len(data) <= IN_MEMORY_BYTES:
                node.digest.CopyFrom((yield from self.keep(data)))
                return node
            digest = _digest_of_file(fd, data, self._function, self._go_on)
            node.digest.CopyFrom(_message(digest))
            yield LargeFile(digest, fd)
            return node
        finally:
            os.close(fd)

    def directory(
        self, parent: int, name: str, below: dict[Digest, bytes], level: int
    ) -> _Pieces[bytes]:
        """The Directory, encoded, its entries of each kind sorted by name.

        ``below`` gets the directories it contains, each once, after those that it contains.
        """
        if level > MAX_LEVELS:
            raise BadOutput(f"an output directory is over {MAX_LEVELS} levels deep")
        message = re_pb2.Directory()
        fd = open_directory(parent, name)
        try:
            properties = self.properties(os.fstat(fd))
            if properties is not None:
                message.node_properties.CopyFrom(properties)
            with os.scandir(fd) as entries:
                found = sorted(entries, key=lambda entry: os.fsencode(entry.name))
            for entry in found:
                yield from self._entry(message, fd, entry, below, level)
        finally:
            os.close(fd)
        return message.SerializeToString(deterministic=True)

    def _entry(
        self,
        message: re_pb2.Directory,
        fd: int,
        entry: os.DirEntry[str],
        below: dict[Digest, bytes],
        level: int,
    ) -> _Pieces[None]:
        name = _checked(entry.name)
        if entry.is_symlink():
            message.symlinks.add(
                name=name,
                target=_checked(os.readlink(name, dir_fd=fd)),
                node_properties=self.properties(entry.stat(follow_symlinks=False)),
            )
        elif entry.is_file(follow_symlinks=False):
            message.files.append((yield from self.file(fd, name)))
        elif entry.is_dir(follow_symlinks=False):
            child = yield from self.directory(fd, name, below, level + 1)
            digest = digest_of(child, self._function)
            below[digest] = child
            message.directories.add(name=name, digest=_message(digest))
        else:
            mode = entry.stat(follow_symlinks=False).st_mode
            raise BadOutput(
                f"an output directory holds {_kind(mode)}, {name!r}; REAPI has files, directories "
                "and symlinks only, so let the action remove it before it ends"
            )

    def properties(self, status: os.stat_result) -> re_pb2.NodeProperties | None:
        """Those that the command asks for, None if it asks for none."""
        if not self._properties:
            return None
        properties = re_pb2.NodeProperties()
        if "mtime" in self._properties:
            seconds, nanos = divmod(status.st_mtime_ns, 1_000_000_000)
            properties.mtime.CopyFrom(Timestamp(seconds=seconds, nanos=nanos))
        if "unix_mode" in self._properties:
            properties.unix_mode.CopyFrom(UInt32Value(value=stat.S_IMODE(status.st_mode)))
        return properties


def digest_of_file(fd: int, function: DigestFunction, go_on: GoOn = always) -> Digest:
    """The digest of an open file's content, read from its start.

    Raises:
        BadOutput: it is larger than ``MAX_BYTES``.
        Exception: what ``go_on`` raises.
    """
    _check_size(os.fstat(fd).st_size)
    return _digest_of_file(fd, b"", function, go_on)


def _digest_of_file(fd: int, start: bytes, function: DigestFunction, go_on: GoOn) -> Digest:
    hasher = new_hasher(function)
    hasher.update(start)
    length = len(start)
    while chunk := os.pread(fd, _CHUNK_BYTES, length):
        go_on()
        hasher.update(chunk)
        length += len(chunk)
    return make_digest(function, hasher.digest(), length)


def _start_of(fd: int) -> bytes:
    """The first bytes: all of a small file, one more than that of a large one."""
    data = os.read(fd, IN_MEMORY_BYTES + 1)
    while 0 < len(data) <= IN_MEMORY_BYTES:
        more = os.read(fd, IN_MEMORY_BYTES + 1 - len(data))
        if not more:
            break
        data += more
    return data


def _check_size(size_bytes: int) -> None:
    if size_bytes > MAX_BYTES:
        raise BadOutput(
            f"the outputs have over {MAX_BYTES // 1024**3} GiB, holes in files included; let the "
            "action leave less"
        )


def _encoded_tree(root: bytes, children: Iterable[bytes]) -> bytes:
    """A Tree of encoded Directories; what follows from ``is_topologically_sorted`` in REAPI."""
    records = [(b"\x0a", root), *((b"\x12", child) for child in children)]
    return b"".join(tag + _varint(len(data)) + data for tag, data in records)


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*digits, number))


def _message(digest: Digest) -> re_pb2.Digest:
    return re_pb2.Digest(hash=digest.hash_hex, size_bytes=digest.size_bytes)


def _checked(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise BadOutput(
            f"a name among the outputs isn't UTF-8, which REAPI wants: {os.fsencode(name)!r}"
        ) from None
    return name


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFREG: "a file",
        stat.S_IFDIR: "a directory",
        stat.S_IFSOCK: "a socket",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "of a strange kind")
