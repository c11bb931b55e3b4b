"""Putting the plugin into a Pants repository, or upgrading it there."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import reapi_contract
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.source import ARCHIVE, LAUNCHER, Source, find_source, write_archive
from reapi_local_plugin.pants_config import pants_toml
from reapi_local_plugin.pants_config.edit import EditError, Plan

_FOLDER = "pants-plugins"
_PLUGIN = "reapi_local_plugin"
_REQUIREMENTS = "server-requirements.txt"

PACKAGES = (
    LAUNCHER.with_name(_PLUGIN),
    LAUNCHER,
    Path(reapi_contract.__file__).resolve().parent,
)
"""The packages that Pants needs on its `pythonpath`; the server's are in the launcher's archive."""


@dataclass(frozen=True)
class Initialised:
    """What `init` did to a repository, with paths relative to its root, and what the user must do.

    `pants_toml`: the lines that were added. `paste`: the lines that the user has to add to
    pants.toml, and `refusal`: why they could not be added.
    """

    root: Path
    version: str
    written: tuple[str, ...]
    removed: tuple[str, ...]
    pants_toml: tuple[str, ...]
    refusal: str | None
    paste: tuple[str, ...]


def init(root: Path, source: Source | None = None) -> Initialised:
    """Copy plugin, launcher and contract to `root`/pants-plugins, and load them in pants.toml.

    Files with the same content stay untouched. Files of an earlier copy that this version no longer
    has are removed.

    Raises:
        LauncherError: `root` is not the root of a Pants repository, or cannot be written.
    """
    root = root.absolute()
    if not (root / "pants.toml").is_file():
        raise LauncherError(
            f"{root} is not the root of a Pants repository.",
            _why_no_root(root),
            "Run it where pants.toml is, or name that directory: `reapi-local init DIR`.",
        )
    source = source or find_source()
    try:
        written, removed = _copy(root, source)
        plan: Plan = pants_toml.init(root / "pants.toml")
    except OSError as error:
        raise LauncherError(
            "The plugin could not be put into the repository.",
            f"{error.filename}: {error.strerror or error}.",
            "Make it writable for this user and run `reapi-local init` again.",
        ) from error
    except EditError as error:
        raise LauncherError(
            "The plugin is in the repository, but pants.toml could not be edited.",
            str(error),
            "Then run `reapi-local init` again.",
        ) from error
    added = () if plan.refusal else plan.written
    return Initialised(root, source.label, written, removed, added, plan.refusal, plan.paste)


def _copy(root: Path, source: Source) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The paths of the files that were written and removed, relative to the root."""
    folder = root / _FOLDER
    launcher = folder / LAUNCHER.name
    if launcher.exists() and launcher.samefile(LAUNCHER):
        return (), ()  # the launcher that runs is this very copy
    files = dict(_files())
    files[launcher.relative_to(folder) / ARCHIVE] = write_archive(source)
    _check_places(folder, files)
    written = [name for name, content in files.items() if _write(folder / name, content)]
    removed = [
        path.relative_to(folder)
        for package in PACKAGES
        for path in (folder / package.name).rglob("*")
        if _is_copied(path) and path.relative_to(folder) not in files
    ]
    for name in removed:
        (folder / name).unlink()
    for package in PACKAGES:
        _remove_empty_folders(folder / package.name)
    return _shown(written), _shown(removed)


def _why_no_root(root: Path) -> str:
    if root.is_dir():
        return "It has no pants.toml."
    return "It is a file." if root.exists() else "It does not exist."


def _check_places(folder: Path, names: Iterable[Path]) -> None:
    """Raises LauncherError, before anything is written, if something else is at a file's place."""
    needed = {folder / parent for name in names for parent in name.parents}
    wrong = [f"{path} is not a directory" for path in needed if path.exists() and not path.is_dir()]
    wrong += [f"{folder / name} is a directory" for name in names if (folder / name).is_dir()]
    if wrong:
        raise LauncherError(
            "The plugin could not be put into the repository.",
            f"{min(wrong)}.",
            "Move it away and run `reapi-local init` again.",
        )


def _files() -> Iterator[tuple[Path, bytes]]:
    """The files to copy: the path below pants-plugins, and the content."""
    for package in PACKAGES:
        for path in sorted(package.rglob("*")):
            if _is_copied(path) and path.name != ARCHIVE:
                yield path.relative_to(package.parent), path.read_bytes()


def _is_copied(path: Path) -> bool:
    """Whether a file in a package is of a kind that `init` writes; all others are the user's."""
    return path.suffix == ".py" or path.name in (_REQUIREMENTS, ARCHIVE)


def _write(path: Path, content: bytes) -> bool:
    """Write a file in one step, unless it has this content. Returns whether it was written."""
    if path.is_file() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)
    return True


def _remove_empty_folders(package: Path) -> None:
    """Remove folders that hold nothing but bytecode of files that were removed."""
    folders = [path for path in package.rglob("*") if path.is_dir() and path.name != "__pycache__"]
    for folder in sorted(folders, reverse=True):  # a folder comes after the folders within it
        if all(path.name == "__pycache__" for path in folder.iterdir()):
            shutil.rmtree(folder)


def _shown(names: list[Path]) -> tuple[str, ...]:
    return tuple(sorted(Path(_FOLDER, name).as_posix() for name in names))
