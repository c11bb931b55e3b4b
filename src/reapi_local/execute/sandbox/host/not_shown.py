"""Tells why a program failed that needs something of the host that actions don't see."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Final

from reapi_local.execute.sandbox.host.host_view import HostView
from reapi_local.execute.sandbox.host.zones import TEMPORARY, Zones
from reapi_local.execute.sandbox.interface import ProcessSpec

_PATH: Final = re.compile(r"""(?<![\w.}/-])/[^\s"'`:;,=<>|&(){}$*?\[\]\\]+""")
_MAX_CHARACTERS: Final = 64 * 1024
_MAX_PATHS: Final = 200
_NOT_STARTED: Final = (126, 127)
"""The exit codes of a program that can't be started, which shells give, too."""


def remark_on(spec: ProcessSpec, exit_code: int, view: HostView, zones: Zones) -> str:
    """A sentence about the first path that a failed process named and could not see; else "".

    That is a path in its arguments, or a program on its PATH, that exists on the host. Paths in
    directories for temporary files count only if nothing was started: an action may make its own.
    """
    if not exit_code:
        return ""
    for number, path in enumerate(_named(spec)):
        if number == _MAX_PATHS:
            break
        if not (zone := zones.zone_of(path)) or path == zone:
            continue
        if zone in TEMPORARY and exit_code not in _NOT_STARTED:
            continue
        real = os.path.realpath(path)
        if os.path.exists(real) and zones.zone_of(real) and not view.shows(real):
            return (
                f"{path} exists on this machine, but actions don't see it; to show it, add it or a "
                "directory above it to the server's setting show"
            )
    return ""


def _named(spec: ProcessSpec) -> Iterator[str]:
    program, left = spec.arguments[0], _MAX_CHARACTERS
    if "/" not in program:
        for directory in spec.environment.get("PATH", "").split(":"):
            if os.path.isabs(directory):
                yield os.path.normpath(os.path.join(directory, program))
    for argument in spec.arguments:
        for path in _PATH.findall(argument[:left]):
            yield os.path.normpath(path)
        left -= len(argument)
        if left <= 0:
            return
