"""Where the server's own package is, and what to call that version of it.

Three homes, in this order: `server.zip` beside the plugin (a Pants repository that `reapi-local
init` prepared), `reapi_local` beside the plugin (installed from a wheel), `src/reapi_local` of the
project's own repository.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from reapi_local_launcher.errors import LauncherError

PLUGIN = Path(__file__).resolve().parent.parent
PACKAGE = "reapi_local"

_VERSION = re.compile(r"""^__version__\s*=\s*["']([^"']+)["']""", re.MULTILINE)


@dataclass(frozen=True)
class Source:
    """The server's package: a directory or a zip archive, and the version label of its content."""

    location: Path
    label: str

    def prepare(self, support_dir: Path) -> Path:
        """A directory that holds the package and nothing else, to be the server's PYTHONPATH.

        Nothing else, because a wheel's site-packages may be made for another Python and would hide
        the packages of the server's own. Made once, under `support_dir`. Raises OSError.
        """
        if self.location.is_dir():
            name = hashlib.sha256(os.fsencode(self.location)).hexdigest()[:16]
        else:
            name = hashlib.sha256(self.location.read_bytes()).hexdigest()[:16]
        root = support_dir / "sources" / name
        if (root / PACKAGE / "__init__.py").exists():
            return root
        import shutil
        import tempfile
        import zipfile

        root.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=root.parent))
        try:
            if self.location.is_dir():
                (partial / PACKAGE).symlink_to(self.location)
            else:
                with zipfile.ZipFile(self.location) as archive:
                    archive.extractall(partial)
            _publish(partial, root)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return root


def find_source(plugin: Path = PLUGIN) -> Source:
    """The server's package that belongs to this plugin. Raises LauncherError if there is none."""
    archive = plugin / "server.zip"
    if archive.exists():
        return Source(archive, _archive_label(archive))
    installed = plugin.parent / PACKAGE
    if (installed / "__init__.py").exists():
        return Source(installed, _release(installed))
    checkout = plugin.parent.parent / "src" / PACKAGE
    if (checkout / "__init__.py").exists():
        return Source(checkout, f"{_release(checkout)}+src.{fingerprint(checkout)}")
    raise LauncherError(
        "The server's package was not found.",
        f"Neither {archive} nor {installed} nor {checkout} exists.",
        "Run `reapi-local init` from an installed reapi-local, or reinstall reapi-local.",
    )


def fingerprint(package: Path) -> str:
    """12 hex digits over the paths and contents of a package's Python files."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        content = path.read_bytes()
        name = path.relative_to(package).as_posix()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def write_archive(source: Source) -> bytes:
    """The content of `server.zip` for this source: the same bytes for the same files and label.

    The label travels as the archive's comment, so that a copy made from a checkout keeps its
    fingerprint.
    """
    if not source.location.is_dir():
        return source.location.read_bytes()
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = source.label.encode()
        for path in sorted(source.location.rglob("*")):
            if path.is_dir() or "__pycache__" in path.parts or path.name == "BUILD":
                continue
            name = f"{PACKAGE}/{path.relative_to(source.location).as_posix()}"
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    return buffer.getvalue()


def _publish(partial: Path, root: Path) -> None:
    try:
        partial.rename(root)
    except OSError:
        if not (root / PACKAGE / "__init__.py").exists():
            import shutil

            # What is there is broken: a link to an uninstalled copy, or a half-cleaned cache.
            shutil.rmtree(root, ignore_errors=True)
            partial.rename(root)


def _release(package: Path) -> str:
    return _parse_release((package / "__init__.py").read_text(encoding="utf-8"))


def _archive_label(archive: Path) -> str:
    import zipfile

    try:
        with zipfile.ZipFile(archive) as opened:
            text = opened.read(f"{PACKAGE}/__init__.py").decode()
            return opened.comment.decode() or _parse_release(text)
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError) as error:
        raise LauncherError(
            f"{archive} cannot be read.",
            f"It is not the server's archive: {error}.",
            "Write it anew with `reapi-local init` from an installed reapi-local.",
        ) from error


def _parse_release(text: str) -> str:
    match = _VERSION.search(text)
    return match.group(1) if match else "0"
