"""Paths that clients send: they are relative, and may climb as long as they stay in the input root.

Source: REAPI v2, messages ``Command`` and ``ActionResult``. REAPI wants ``a/b``. Clients that build
in a directory of their own below the input root also send ``.``, ``./a`` and ``../a``.
"""

from __future__ import annotations

from typing import Final

from reapi_local.errors import InvalidRequest, PathLeavesRoot

MAX_DEPTH: Final = 200
"""How many levels a path of a command may have: each one occupies a descriptor while the path is
resolved below the input root."""


def resolve_path(directory: str, path: str) -> str:
    """Where ``path`` is below the input root: like ``a/b``, "" for the input root itself.

    ``path`` is relative to ``directory``, which this function returned. ``..`` takes away the name
    before it, whatever is there: no file system is asked, so no symlink can lead elsewhere.

    Raises:
        PathLeavesRoot: the path leads out of the input root.
        InvalidRequest: the path is absolute, or contains a NUL character.
    """
    if path.startswith("/"):
        raise InvalidRequest(
            f"path {path[:300]!r} is absolute; REAPI wants a path relative to the working "
            "directory, like a/b, and '.' for that directory itself"
        )
    if "\0" in path:
        raise InvalidRequest(f"path {path[:300]!r} contains a NUL character")
    names: list[str] = []
    for name in path.split("/"):
        if name == "..":
            if names:
                names.pop()
            elif directory:
                directory = directory.rpartition("/")[0]
            else:
                raise PathLeavesRoot(f"path {path[:300]!r} leads out of the input root")
        elif name not in ("", "."):
            names.append(name)
    return "/".join((directory, *names) if directory else names)


def check_not_around(path: str, place: str, directory: str) -> None:
    """Raise InvalidRequest if an output at ``place`` can't be a file or a symlink.

    That is so if the action's working ``directory`` is there, or below it. ``path``: as the client
    spelt it. The others are as :func:`resolve_path` returns them.
    """
    if place and directory != place and not directory.startswith(f"{place}/"):
        return
    relation = "is" if place == directory else "contains"
    raise InvalidRequest(
        f"output path {path[:300]!r} {relation} the working directory itself, so it can't be a file"
        " or a symlink; of a Command, use output_paths or output_directories"
    )
