"""Input roots for tests: Directories by their digests, from paths and contents."""

from __future__ import annotations

from collections.abc import Mapping

from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, digest_of

EXECUTABLE, LINK = "+x ", "-> "
"""How a content begins that is one of an executable, or the target of a link."""


class Trees:
    """Directories that were made; ``forget`` makes one of them unreadable."""

    def __init__(self) -> None:
        self._directories: dict[Digest, re_pb2.Directory] = {}

    def make(self, files: Mapping[str, str]) -> Digest:
        """The digest of an input root with these files, by path."""
        directory = re_pb2.Directory()
        below: dict[str, dict[str, str]] = {}
        for path, content in sorted(files.items()):
            name, _, rest = path.partition("/")
            if rest:
                below.setdefault(name, {})[rest] = content
            elif content.startswith(LINK):
                directory.symlinks.add(name=name, target=content[len(LINK) :])
            else:
                node = directory.files.add(name=name, is_executable=content.startswith(EXECUTABLE))
                _name(node.digest, digest_of(content.removeprefix(EXECUTABLE).encode()))
        for name, inner in sorted(below.items()):
            _name(directory.directories.add(name=name).digest, self.make(inner))
        digest = digest_of(directory.SerializeToString(deterministic=True))
        self._directories[digest] = directory
        return digest

    def load(self, digest: Digest) -> re_pb2.Directory | None:
        return self._directories.get(digest)

    def forget(self, digest: Digest) -> None:
        del self._directories[digest]


def _name(message: re_pb2.Digest, digest: Digest) -> None:
    message.hash, message.size_bytes = digest.hash_hex, digest.size_bytes
