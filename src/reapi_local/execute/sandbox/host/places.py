"""What users name to be shown to actions: a setting's paths, and the repositories of clients.

A client says which repository it works in when a command begins, over the admin interface. The
server remembers it, because builds go on after a restart.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterable
from typing import Any, Final

from reapi_local.execute.sandbox.host.zones import Zones, homes_of_server, is_at_or_below

_MAX_REMEMBERED: Final = 20
_MAX_TOOLS: Final = 50


class CannotShow(Exception):
    """A path can't be shown to actions; the message says why."""


class Places:
    """What is to be shown. Any thread may use it.

    ``shown``: paths of the setting. ``data_dir``: the server's own directory, which is never shown.
    ``file``: where repositories are remembered; "" for nowhere. ``generation`` grows with each
    command that begins.
    """

    def __init__(self, shown: Iterable[str] = (), data_dir: str = "", file: str = "") -> None:
        self.shown, self._file = tuple(shown), file
        self._data_dir = os.path.realpath(data_dir) if data_dir else ""
        self.generation = 0
        self._repositories: dict[str, int] = {}
        self._tools: dict[str, int] = {}
        self._lock = threading.Lock()
        self._remember(_read(file))

    @property
    def repositories(self) -> dict[str, int]:
        """Repositories with the generation in which each was named, the latest last."""
        with self._lock:
            return dict(self._repositories)

    @property
    def tools(self) -> tuple[str, ...]:
        """Directories of programs that processes of clients name."""
        with self._lock:
            return tuple(self._tools)

    def check(self) -> None:
        """Raises CannotShow if a path of the setting can't be shown."""
        zones = Zones(homes_of_server())
        for path in self.shown:
            self._check(path, zones)

    def add(self, repository: str, tools: Iterable[str]) -> None:
        """A command begins in this repository, whose processes name programs in ``tools``.

        Those directories of ``tools`` that can't be shown are left out.

        Raises:
            CannotShow: the repository can't be shown.
        """
        zones = Zones(homes_of_server())
        self._check(repository, zones)
        with self._lock:
            self.generation += 1
            _put_last(self._repositories, repository, self.generation)
            for tool in tools:
                with contextlib.suppress(CannotShow):
                    self._check(tool, zones)
                    if zones.zone_of(os.path.realpath(tool)):
                        _put_last(self._tools, tool, self.generation)
            self._forget()
            self._write()

    def _check(self, path: str, zones: Zones) -> None:
        if not os.path.isabs(path) or os.path.normpath(path) != path or "\0" in path:
            raise CannotShow(f"{path!r} is not the absolute path of a directory")
        if not os.path.exists(path):
            raise CannotShow(f"{path} doesn't exist")
        if why := zones.why_closed(path):
            raise CannotShow(f"{path} {why}")
        if self._data_dir and is_at_or_below(os.path.realpath(path), self._data_dir):
            raise CannotShow(f"{path} is in the server's data directory, which holds its token")

    def _forget(self) -> None:
        for known, most in ((self._repositories, _MAX_REMEMBERED), (self._tools, _MAX_TOOLS)):
            for path in [*known]:
                if len(known) > most or not os.path.isdir(path):
                    del known[path]

    def _remember(self, remembered: Any) -> None:
        """Take over what an earlier server knew, as far as it can still be shown."""
        zones = Zones(homes_of_server()) if remembered else None
        for key, known in (("repositories", self._repositories), ("tools", self._tools)):
            paths = remembered.get(key) if isinstance(remembered, dict) else None
            for path in paths if isinstance(paths, list) else ():
                with contextlib.suppress(CannotShow):
                    if zones and isinstance(path, str):
                        self._check(path, zones)
                        known[path] = 0

    def _write(self) -> None:
        """Remember. It is no loss if this fails: the next command names its repository again."""
        if not self._file:
            return
        known = {"repositories": [*self._repositories], "tools": [*self._tools]}
        with contextlib.suppress(OSError):
            temporary = f"{self._file}.new"
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(temporary, flags, 0o600), "w", encoding="utf-8") as file:
                json.dump(known, file)
            os.replace(temporary, self._file)


def _put_last(known: dict[str, int], path: str, generation: int) -> None:
    known.pop(path, None)
    known[path] = generation


def _read(file: str) -> Any:
    try:
        with open(file, encoding="utf-8") as remembered:
            return json.load(remembered)
    except (OSError, ValueError, RecursionError):
        return None
