"""Which layers an input root is made of: decided here, written elsewhere. No I/O.

A layer holds parts of directories that follow each other in the tree. Where one ends is told by
names, as far as sizes allow: roots that are mostly alike have mostly the same layers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from reapi_local.errors import InvalidRequest
from reapi_local.execute.local.inputs.input_tree import InputTree
from reapi_local.execute.local.inputs.parsed_directory import PLAIN, File, Part, Properties, Symlink

MAX_LAYERS: Final = 100
"""Each layer makes a mount and every look-up a little slower, and their names must fit a page."""

_FORMAT: Final = b"1"
_MAX_HEAVY: Final = 32
_WANTED: Final = 32
_LIGHTEST: Final = 32
_MAX_PATH: Final = 3800
_MAX_PATH_BYTES: Final = 256 * 1024 * 1024
_MARKS: Final = 1 << 32

PlacedPart = tuple[bytes, Part]
"""A part and the path of its directory: relative to the input root, which is b"" itself."""


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """What one layer holds. ``key``: a hash of all of it.

    ``properties``: of those of its directories that aren't plain.
    """

    key: bytes
    parts: tuple[PlacedPart, ...]
    properties: Mapping[bytes, Properties]

    def directories(self) -> list[bytes]:
        """The paths of its directories, parents first; not the root."""
        holding = {path for path, _ in self.parts}
        return sorted({directory for path in holding for directory in _way_to(path)})

    def files(self) -> Iterator[tuple[bytes, File]]:
        """Its files and the paths of their directories."""
        for path, part in self.parts:
            for entry in part.entries:
                if isinstance(entry, File):
                    yield path, entry

    def symlinks(self) -> Iterator[tuple[bytes, Symlink]]:
        """Its symlinks and the paths of their directories."""
        for path, part in self.parts:
            for entry in part.entries:
                if isinstance(entry, Symlink):
                    yield path, entry


def plan_layers(tree: InputTree) -> list[LayerPlan]:
    """The layers of an input root, at most ``MAX_LAYERS``. None for an empty one.

    Raises:
        InvalidRequest: a path is longer than any file system takes.
    """
    placed, properties = _walk(tree)
    heavy = sorted((place for place in placed if place[1].heavy_bytes), key=_lightness)
    alone = heavy[:_MAX_HEAVY]
    rest = [place for place in placed if not place[1].heavy_bytes] + heavy[_MAX_HEAVY:]
    groups = [*([place] for place in alone), *_groups(rest)]
    return [_layer(group, properties) for group in groups]


def _walk(tree: InputTree) -> tuple[list[PlacedPart], dict[bytes, Properties]]:
    """All parts in the order of the tree, and the properties of directories that aren't plain."""
    placed: list[PlacedPart] = []
    properties: dict[bytes, Properties] = {}
    path_bytes, waiting = 0, [(b"", tree.root)]
    while waiting:
        path, digest = waiting.pop()
        path_bytes += len(path)
        if len(path) > _MAX_PATH or path_bytes > _MAX_PATH_BYTES:
            raise InvalidRequest(f"input root {tree.root} has too long paths: {path[:200]!r}...")
        folder = tree.folders[digest]
        placed += [(path, part) for part in folder.parts if path or part.entries]
        if path and folder.properties != PLAIN:  # the root's own are the sandbox's affair
            properties[path] = folder.properties
        prefix = path + b"/" if path else b""
        waiting += [(prefix + name, child) for name, child in reversed(folder.children)]
    return placed, properties


def _lightness(placed: PlacedPart) -> tuple[int, bytes, bytes]:
    return -placed[1].heavy_bytes, placed[0], placed[1].key


def _groups(placed: Sequence[PlacedPart]) -> Iterator[list[PlacedPart]]:
    """Neighbours together: mostly half as heavy as usual at least, and half as heavy again at most.

    What is usual doubles as roots grow: those of about one size are cut alike.
    """
    total, usual = sum(part.weight for _, part in placed), _LIGHTEST
    while usual * _WANTED < total:
        usual *= 2
    group: list[PlacedPart] = []
    weight = 0
    for path, part in placed:
        is_cut = weight >= usual // 2 and crc32(path, part.mark) * usual < 2 * part.weight * _MARKS
        if is_cut or (group and weight + part.weight > usual + usual // 2):
            yield group
            group, weight = [], 0
        group.append((path, part))
        weight += part.weight
    if group:
        yield group


def _layer(group: Sequence[PlacedPart], properties: Mapping[bytes, Properties]) -> LayerPlan:
    hasher = hashlib.blake2b(_FORMAT, digest_size=20)
    for path, part in group:
        hasher.update(b"%b\0%b" % (path, part.key))
    own: dict[bytes, Properties] = {}
    if properties:  # seldom, and only then worth a look at each directory
        layer = LayerPlan(b"", tuple(group), {})
        own = {path: properties[path] for path in layer.directories() if path in properties}
        for path, (mode, mtime_ns) in own.items():
            hasher.update(b"%b\0%o %d\0" % (path, mode, mtime_ns))
    return LayerPlan(hasher.digest(), tuple(group), own)


def _way_to(path: bytes) -> Iterator[bytes]:
    """The path, and those of the directories it lies in; not the root's."""
    while path:
        yield path
        path = path.rpartition(b"/")[0]
