"""Plans which layers an input root consists of. No I/O.

A layer holds neighbouring parts of the tree. As in ``parsed_directory``, hashes of names decide
where a layer ends (content-defined chunking), so input roots that are mostly alike share most of
their layers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from reapi_local.errors import InvalidRequest
from reapi_local.execute.local.inputs.input_tree import InputTree
from reapi_local.execute.local.inputs.parsed_directory import (
    DEFAULT_PROPERTIES,
    DirectoryProperties,
    File,
    Part,
    Symlink,
)

MAX_LAYERS: Final = 100
"""Each layer makes mounting and every path lookup slower, and the paths of all layers should fit
into the one page of mount options."""

_FORMAT: Final = b"1"
_MAX_LARGE_FILE_LAYERS: Final = 32
_SOFT_MAX_GROUPS: Final = 32
_MIN_TARGET_WEIGHT: Final = 32
_MAX_PATH_BYTES: Final = 3800
_MAX_ALL_PATHS_BYTES: Final = 256 * 1024 * 1024
_HASH_VALUES: Final = 1 << 32

PlacedPart = tuple[bytes, Part]
"""The path of a directory, relative to the input root (which is b""), and a part of it."""


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """The content of one layer. ``key``: a hash of it.

    ``properties``: of each directory in it that doesn't have ``DEFAULT_PROPERTIES``.
    """

    key: bytes
    parts: tuple[PlacedPart, ...]
    properties: Mapping[bytes, DirectoryProperties]

    def directories(self) -> list[bytes]:
        """The paths of its directories, parents first, without the root."""
        with_parts = {path for path, _ in self.parts}
        return sorted({directory for path in with_parts for directory in _with_ancestors(path)})

    def files(self) -> Iterator[tuple[bytes, File]]:
        """Its files, each with the path of its directory."""
        for path, part in self.parts:
            for entry in part.entries:
                if isinstance(entry, File):
                    yield path, entry

    def symlinks(self) -> Iterator[tuple[bytes, Symlink]]:
        """Its symlinks, each with the path of its directory."""
        for path, part in self.parts:
            for entry in part.entries:
                if isinstance(entry, Symlink):
                    yield path, entry


def plan_layers(tree: InputTree) -> list[LayerPlan]:
    """The layers of an input root, at most ``MAX_LAYERS``; an empty root has none.

    Large files get layers of their own, so that a change elsewhere doesn't write them again. If
    there are many, only the largest get their own, and the others are grouped like all parts.

    Raises:
        InvalidRequest: a path is longer than any file system allows.
    """
    placed, properties = _walk(tree)
    large = sorted((place for place in placed if place[1].large_bytes), key=_largest_first)
    alone = large[:_MAX_LARGE_FILE_LAYERS]
    rest = [place for place in placed if not place[1].large_bytes] + large[_MAX_LARGE_FILE_LAYERS:]
    groups = [*([place] for place in alone), *_group(rest)]
    return [_layer(group, properties) for group in groups]


def _walk(tree: InputTree) -> tuple[list[PlacedPart], dict[bytes, DirectoryProperties]]:
    """All parts in tree order, and the properties of directories that don't have the defaults."""
    placed: list[PlacedPart] = []
    properties: dict[bytes, DirectoryProperties] = {}
    all_paths_bytes, pending = 0, [(b"", tree.root)]
    while pending:
        path, digest = pending.pop()
        all_paths_bytes += len(path)
        if len(path) > _MAX_PATH_BYTES or all_paths_bytes > _MAX_ALL_PATHS_BYTES:
            raise InvalidRequest(f"input root {tree.root} has too long paths: {path[:200]!r}...")
        directory = tree.directories[digest]
        placed += [(path, part) for part in directory.parts if path or part.entries]
        # The sandbox decides about the properties of the input root's own directory.
        if path and directory.properties != DEFAULT_PROPERTIES:
            properties[path] = directory.properties
        prefix = path + b"/" if path else b""
        pending += [(prefix + name, child) for name, child in reversed(directory.children)]
    return placed, properties


def _largest_first(placed: PlacedPart) -> tuple[int, bytes, bytes]:
    """A sort key."""
    return -placed[1].large_bytes, placed[0], placed[1].key


def _group(placed: Sequence[PlacedPart]) -> Iterator[list[PlacedPart]]:
    """Group neighbours to 0.5-1.5x the target weight; the target doubles with tree size.

    From half of the target on, a group ends before a part with a probability of twice the part's
    weight over the target, so most groups end by themselves before 1.5x. The path and the name
    decide (their hash is the random number), so a group that ends at a part in one input root ends
    there in others, too. The target is a power of two, so trees of about the same size have the
    same target and thus the same groups.
    """
    total, target = sum(part.weight for _, part in placed), _MIN_TARGET_WEIGHT
    while target * _SOFT_MAX_GROUPS < total:
        target *= 2
    group: list[PlacedPart] = []
    weight = 0
    for path, part in placed:
        is_boundary = (
            weight >= target // 2
            and crc32(path, part.boundary_hash) * target < 2 * part.weight * _HASH_VALUES
        )
        if is_boundary or (group and weight + part.weight > target + target // 2):
            yield group
            group, weight = [], 0
        group.append((path, part))
        weight += part.weight
    if group:
        yield group


def _layer(
    group: Sequence[PlacedPart], properties: Mapping[bytes, DirectoryProperties]
) -> LayerPlan:
    hasher = hashlib.blake2b(_FORMAT, digest_size=20)
    for path, part in group:
        hasher.update(b"%b\0%b" % (path, part.key))
    own: dict[bytes, DirectoryProperties] = {}
    if properties:  # rare, so the common case doesn't pay for listing all directories
        layer = LayerPlan(b"", tuple(group), {})
        own = {path: properties[path] for path in layer.directories() if path in properties}
        for path, (mode, mtime_ns) in own.items():
            hasher.update(b"%b\0%o %d\0" % (path, mode, mtime_ns))
    return LayerPlan(hasher.digest(), tuple(group), own)


def _with_ancestors(path: bytes) -> Iterator[bytes]:
    """The path and the paths of its parents, without the root."""
    while path:
        yield path
        path = path.rpartition(b"/")[0]
