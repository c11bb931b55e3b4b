"""Secrets and sockets in all places of a machine where actions must not reach them."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

SECRET = "a secret of the host"

IN_HOME = {
    ".bazelrc": 0o644,
    ".netrc": 0o600,
    ".config/pip/pip.conf": 0o644,
    ".config/fly/access_token": 0o600,
    ".fly/config.yml": 0o644,
    ".local/share/uv/credentials/index": 0o644,
    ".local/share/keyrings/login.keyring": 0o644,
    ".local/secret": 0o644,
    ".cargo/credentials.toml": 0o644,
    ".cargo/bin/credentials.toml": 0o644,
    ".nvm/.npmrc": 0o644,
    ".pyenv/versions/3/token": 0o600,
    ".pyenv/.git/config": 0o644,
    ".cache/pants/lmdb_store/blob": 0o644,
    ".cache/uv/archive": 0o644,
    ".cache/reapi-local/data/server.json": 0o644,
    ".ssh/id_ed25519": 0o644,
    "Documents/letter": 0o644,
}
"""Files in the home of the server's user, with their modes."""

SOCKETS_IN_HOME = (
    *(".1password/agent.sock", ".cache/git/credential/socket", ".pyenv/agent.sock", "agent"),
    *(".local/bin/agent.sock", ".gnupg/S.gpg-agent"),
)

IN_REPOSITORY = {
    ".env": 0o644,
    "deep/er/.env.local": 0o644,
    ".git/config": 0o644,
    "key": 0o600,
    ".data/server.json": 0o644,
    ".data/store/blob": 0o644,
}
SOCKETS_IN_REPOSITORY = ("service.sock", "deep/er/service.sock")
BESIDE_THEM = {
    ".git/HEAD": "ref",
    ".git/objects/x": "",
    ".git/refs/x": "",
    ".data/server.lock": "",
    ".pyenv/.git/HEAD": "ref",
    ".pyenv/.git/objects/x": "",
    ".pyenv/.git/refs/x": "",
}
"""What makes a directory one of git, or the data directory of another server."""

ZONES = ("/tmp", "/var/tmp", "/run", "/home", "/root")
"""In each of them a directory is made, like a user's, as far as this user may."""

IN_ZONE = {"secret": 0o644, ".bazelrc": 0o644, "project/file": 0o666, ".pyenv/bin/file": 0o644}
SOCKETS_IN_ZONE = ("socket", ".pyenv/socket")


class Planted:
    """``files`` hold SECRET, ``sockets`` listen. Abstract ones begin with a null byte."""

    def __init__(self, stack: ExitStack, owner: int) -> None:
        self.files: list[str] = []
        self.sockets: list[str] = []
        self._stack, self._owner = stack, owner

    def plant(self, top: Path, files: dict[str, int], sockets: tuple[str, ...]) -> None:
        for name, mode in files.items():
            self._write(top / name, SECRET, mode)
            self.files.append(str(top / name))
        for name in sockets:
            path = top / name
            self._make_parent(path)
            self._listen(str(path))
            path.chmod(0o777)
            os.chown(path, self._owner, -1)

    def beside(self, top: Path) -> None:
        for name, text in BESIDE_THEM.items():
            if (top / name).parent.is_dir() or (top / name).parent.parent.is_dir():
                self._write(top / name, text, 0o644)

    def plant_abstract(self) -> None:
        self._listen(f"\0reapi-local-test-{os.getpid()}")

    def zone(self, zone: str) -> None:
        try:
            top = Path(tempfile.mkdtemp(prefix="reapi-local-test-", dir=zone))
        except OSError:
            return
        self._stack.callback(shutil.rmtree, top)
        top.chmod(0o755)
        self.plant(top, IN_ZONE, SOCKETS_IN_ZONE)

    def _write(self, path: Path, text: str, mode: int) -> None:
        self._make_parent(path)
        path.write_text(text)
        path.chmod(mode)
        os.chown(path, self._owner, -1)

    def _make_parent(self, path: Path) -> None:
        missing = [parent for parent in path.parents if not parent.exists()]
        for parent in reversed(missing):
            parent.mkdir(mode=0o755)
            os.chown(parent, self._owner, -1)

    def _listen(self, path: str) -> None:
        listener = self._stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(path)
        listener.listen(100)
        self.sockets.append(path)


@contextmanager
def planted(home: Path, repository: Path, owner: int) -> Iterator[Planted]:
    """Plant all of them; they are gone afterwards."""
    with ExitStack() as stack:
        made = Planted(stack, owner)
        made.plant(home, IN_HOME, SOCKETS_IN_HOME)
        made.plant(repository, IN_REPOSITORY, SOCKETS_IN_REPOSITORY)
        for top in (home, repository):
            made.beside(top)
        for zone in ZONES:
            made.zone(zone)
        made.plant_abstract()
        yield made
