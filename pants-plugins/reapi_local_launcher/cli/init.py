"""Putting the plugin into a Pants repository, or a newer one in place of an older."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from reapi_local_launcher.errors import LauncherError
from reapi_local_launcher.source import PLUGIN, Source, find_source, write_archive
from reapi_local_plugin.pants_config import pants_toml
from reapi_local_plugin.pants_config.edit import EditError, Plan

_TARGET = Path("pants-plugins", PLUGIN.name)


@dataclass(frozen=True)
class Initialised:
    """What `init` did to a repository, by paths relative to it, and what is left to the user.

    `pants_toml`: the lines that were added. `paste`: lines the user has to add to pants.toml,
    because of `refusal`.
    """

    root: Path
    version: str
    written: tuple[str, ...]
    removed: tuple[str, ...]
    pants_toml: tuple[str, ...]
    refusal: str | None
    paste: tuple[str, ...]


def init(root: Path, source: Source | None = None) -> Initialised:
    """Copy the plugin and the server's package to `root`/pants-plugins and load it in pants.toml.

    Files that are the same stay untouched; Python files of the plugin that this version no longer
    has are removed. Raises LauncherError outside a Pants repository, or if something cannot be
    written.
    """
    root = root.absolute()
    if not (root / "pants.toml").is_file():
        raise LauncherError(
            f"{root} is not the root of a Pants repository.",
            "It has no pants.toml.",
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
    target = root / _TARGET
    if target.exists() and target.samefile(PLUGIN):
        return (), ()  # The plugin's own repository, or run from the copy in this one.
    files = dict(_plugin_files())
    files["server.zip"] = write_archive(source)
    written = [name for name, content in files.items() if _write(target / name, content)]
    stale = [
        path for path in target.rglob("*.py") if path.relative_to(target).as_posix() not in files
    ]
    for path in stale:
        path.unlink()
    return _shown(written), _shown(path.relative_to(target).as_posix() for path in stale)


def _plugin_files() -> Iterator[tuple[str, bytes]]:
    for path in sorted(PLUGIN.rglob("*")):
        if path.suffix == ".py" or path.name == "server-requirements.txt":
            yield path.relative_to(PLUGIN).as_posix(), path.read_bytes()


def _write(path: Path, content: bytes) -> bool:
    """Write a file in one step unless it has this content; whether it did."""
    if path.is_file() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)
    return True


def _shown(names: Mapping[str, bytes] | Iterator[str] | list[str]) -> tuple[str, ...]:
    return tuple(sorted((_TARGET / name).as_posix() for name in names))
