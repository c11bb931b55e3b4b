"""Collects what actions see in the zones, and keeps the plan made from it up to date."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator
from glob import glob, has_magic
from typing import NamedTuple

from reapi_local.execute.sandbox.host.host_view import HostView, Visible, plan_host_view
from reapi_local.execute.sandbox.host.identity import Identity
from reapi_local.execute.sandbox.host.not_shown import remark_on
from reapi_local.execute.sandbox.host.other_servers import data_directories_of_servers
from reapi_local.execute.sandbox.host.places import Places
from reapi_local.execute.sandbox.host.private_files import find_private
from reapi_local.execute.sandbox.host.toolchains import (
    beside_programs,
    directories_on_path,
    own_python,
    toolchain_paths,
)
from reapi_local.execute.sandbox.host.zones import Zones, homes_of_server
from reapi_local.execute.sandbox.interface import NamedPlaces, ProcessSpec, SandboxError
from reapi_local.threads import in_thread


class _Searched(NamedTuple):
    """A directory that was searched for private files, and what it was like then.

    ``generation``: when a client named it as its repository, else 0.
    """

    inode: int
    mtime_ns: int
    generation: int
    private: tuple[str, ...]


class HostViews:
    """The plan of what actions see of the host, made again when what it depends on has changed.

    A directory is searched for what is private in it when it is first shown. It is searched again
    if something comes or goes directly in it, and a repository if a command begins in it instead,
    because files come and go there all the time.
    """

    def __init__(
        self, identity: Identity, hidden: Iterable[str], places: NamedPlaces | None
    ) -> None:
        self._identity, self._hidden = identity, tuple(hidden)
        self._places = places or Places()
        self._searched: dict[str, _Searched] = {}
        self._generation = -1
        self._lock = asyncio.Lock()
        self._zones = Zones(())
        self.view = HostView()

    def remark_on(self, spec: ProcessSpec, exit_code: int) -> str:
        """See :func:`~reapi_local.execute.sandbox.host.not_shown.remark_on`."""
        return remark_on(spec, exit_code, self.view, self._zones)

    async def current(self) -> HostView:
        """The plan. It costs little while it is up to date.

        Raises:
            SandboxError: the host's directories can't be read.
        """
        if not self._is_current():
            async with self._lock:
                if not self._is_current():
                    await in_thread(self._plan)
        return self.view

    def _is_current(self) -> bool:
        return self._generation == self._places.generation and self.view.is_current()

    def _plan(self) -> None:
        generation = self._places.generation
        try:
            zones = Zones(homes_of_server())
            view = plan_host_view(self._identity, zones, self._visible(zones))
        except OSError as error:
            raise SandboxError(f"can't read this host's directories: {error}") from error
        self._zones, self.view, self._generation = zones, view, generation

    def _visible(self, zones: Zones) -> Visible:
        repositories = self._places.repositories
        patterns = [*toolchain_paths(zones.homes, os.environ)]
        directories = [*_existing(patterns), *self._programs(zones), *repositories]
        wanted = [*filter(os.path.isdir, directories), *self._places.shown]
        shown = [path for path in dict.fromkeys(wanted) if not zones.why_closed(path)]
        searched = {
            real: self._search(real, repositories.get(path, 0))
            for path in shown
            if zones.zone_of(real := os.path.realpath(path)) or path in repositories
        }
        self._searched = searched
        asked_for = {os.path.realpath(path) for path in self._places.shown}
        return Visible(
            paths=shown,
            private=sorted(
                path
                for found in searched.values()
                for path in found.private
                if path not in asked_for
            ),
            watched=sorted(
                {
                    *(os.path.dirname(path) for path in patterns if _has_parent(path)),
                    *(path for path, found in searched.items() if not found.generation),
                }
            ),
            hidden=[*self._hidden, *data_directories_of_servers()],
        )

    def _programs(self, zones: Zones) -> Iterator[str]:
        """Programs of the environment, the server's interpreter, and what clients name."""
        for directory in directories_on_path(os.environ):
            yield directory
            if not zones.why_closed(os.path.dirname(directory)):
                yield from beside_programs(directory)
        yield from own_python()
        yield from self._places.tools

    def _search(self, directory: str, generation: int) -> _Searched:
        try:
            status = os.stat(directory)
        except OSError:
            return _Searched(0, 0, 0, ())
        mtime_ns = 0 if generation else status.st_mtime_ns
        known = self._searched.get(directory)
        if known and known[:3] == (status.st_ino, mtime_ns, generation):
            return known
        by_mode = self._identity.uid == os.getuid()
        private = find_private(directory, by_mode=by_mode)
        return _Searched(status.st_ino, mtime_ns, generation, private)


def _existing(patterns: Iterable[str]) -> Iterator[str]:
    for pattern in patterns:
        if has_magic(pattern):
            yield from sorted(glob(pattern))
        elif os.path.exists(pattern):
            yield pattern


def _has_parent(path: str) -> bool:
    return os.path.isdir(os.path.dirname(path))
