"""Input trees without contents: what a build tool's process reads, by path and digest.

A reporter that knows them posts the trees that the server lacks, so that an explanation can name
the file that changed, also if the tool never uploads inputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_TREE_BYTES = 8 * 1024 * 1024
"""The largest body of a request; a larger tree isn't posted."""

MAX_ROOTS = 1000
"""The most roots in one question for those that are missing."""


@dataclass(frozen=True)
class InputTree:
    """A tree; paths are relative to its root and have no empty part.

    `root`: its digest, "HASH/SIZE". `files`: path, digest and whether it is executable. `links`:
    path and target. `directories`: paths of those that are empty.
    """

    root: str
    files: Sequence[tuple[str, str, bool]] = ()
    links: Sequence[tuple[str, str]] = ()
    directories: Sequence[str] = ()


def tree_json(tree: InputTree) -> dict[str, Any]:
    """The body of a request to POST `INPUT_TREES`."""
    return {
        "root": tree.root,
        "files": [list(file) for file in tree.files],
        "links": [list(link) for link in tree.links],
        "directories": list(tree.directories),
    }


def tree_from(raw: object) -> InputTree:
    """The tree in such a body. Raises ValueError with a sentence for people."""
    body = raw if isinstance(raw, Mapping) else {}
    try:
        return InputTree(
            str(body["root"]),
            [(str(path), str(digest), bool(mode)) for path, digest, mode in body["files"]],
            [(str(path), str(target)) for path, target in body["links"]],
            [str(path) for path in body["directories"]],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            'send {"root": "HASH/SIZE", "files": [[PATH, "HASH/SIZE", EXECUTABLE], …], '
            '"links": [[PATH, TARGET], …], "directories": [PATH, …]}'
        ) from error


def roots_json(roots: Iterable[str]) -> dict[str, Any]:
    """The body of a request to POST `MISSING_TREES`, and its answer."""
    return {"roots": list(roots)}


def roots_from(raw: object) -> list[str]:
    """The roots in either. Raises ValueError with a sentence for people."""
    roots = raw.get("roots") if isinstance(raw, Mapping) else None
    if not isinstance(roots, list) or len(roots) > MAX_ROOTS:
        raise ValueError(f'send {{"roots": ["HASH/SIZE", …]}} with at most {MAX_ROOTS} roots')
    return [str(root) for root in roots]
