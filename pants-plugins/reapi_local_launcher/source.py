"""Finds the packages that the server needs, and their version label.

They are in one of three places, searched in this order:
- `server.zip` in the launcher's package: a Pants repository that `reapi-local init` prepared;
- next to the launcher's package: an installed wheel;
- `src`: the repository of the project itself.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from reapi_contract.command_line import MODULE, PACKAGES
from reapi_local_launcher.launcher_error import LauncherError

LAUNCHER = Path(__file__).resolve().parent
ARCHIVE = "server.zip"
SOURCES = "sources"
"""The directory of prepared packages, below the directory that all data directories share."""

_VERSION = re.compile(r"""^__version__\s*=\s*["']([^"']+)["']""", re.MULTILINE)


@dataclass(frozen=True)
class Source:
    """The server's packages: the directory or the zip archive that holds them, and their label."""

    location: Path
    label: str

    @property
    def prepared_name(self) -> str:
        """The name of the directory that `prepare` makes."""
        is_directory = self.location.is_dir()
        content = os.fsencode(self.location) if is_directory else self.location.read_bytes()
        return hashlib.sha256(content).hexdigest()[:16]

    def prepare(self, support_dir: Path) -> Path:
        """Make a directory with these packages only, to be the PYTHONPATH of the server.

        Other packages at the same location are left out: they may be made for another Python, and
        would hide those of the server's interpreter. The directory is under `support_dir` and is
        made once. Raises OSError.
        """
        root = support_dir / SOURCES / self.prepared_name
        if _has_packages(root):
            return root
        import shutil
        import tempfile
        import zipfile

        root.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=root.parent))
        try:
            if self.location.is_dir():
                for package in PACKAGES:
                    (partial / package).symlink_to(self.location / package)
            else:
                with zipfile.ZipFile(self.location) as archive:
                    archive.extractall(partial)
            _publish(partial, root)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return root


def find_source(launcher: Path = LAUNCHER) -> Source:
    """The server's packages that belong to this launcher. Raises LauncherError without them."""
    archive = launcher / ARCHIVE
    if archive.exists():
        return Source(archive, _archive_label(archive))
    installed = launcher.parent
    if _has_packages(installed):
        return Source(installed, _release(installed))
    checkout = launcher.parent.parent / "src"
    if _has_packages(checkout):
        return Source(checkout, f"{_release(checkout)}+src.{fingerprint(checkout)}")
    raise LauncherError(
        "The server's packages were not found.",
        f"There is no {archive}, and neither {installed} nor {checkout} has "
        f"{' and '.join(PACKAGES)}.",
        "Run `reapi-local init` from an installed reapi-local, or reinstall reapi-local.",
    )


def fingerprint(directory: Path) -> str:
    """12 hex digits over the paths and contents of the Python files of the packages in it."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((directory / package).rglob("*.py")):
            content = path.read_bytes()
            name = path.relative_to(directory).as_posix()
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def write_archive(source: Source) -> bytes:
    """The content of `server.zip` for a source: the same bytes for the same files and label.

    The label is the archive's comment, so a copy made from a checkout keeps its fingerprint.
    """
    if not source.location.is_dir():
        return source.location.read_bytes()
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = source.label.encode()
        for path in _archived(source.location):
            name = path.relative_to(source.location).as_posix()
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    return buffer.getvalue()


def _archived(directory: Path) -> list[Path]:
    return [
        path
        for package in PACKAGES
        for path in sorted((directory / package).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and path.name != "BUILD"
    ]


def _has_packages(directory: Path) -> bool:
    return all((directory / package / "__init__.py").exists() for package in PACKAGES)


def _publish(partial: Path, root: Path) -> None:
    try:
        partial.rename(root)
    except OSError:
        if not _has_packages(root):
            import shutil

            # The old directory is broken: its links lead to a removed copy, or files were deleted.
            shutil.rmtree(root, ignore_errors=True)
            partial.rename(root)


def _release(directory: Path) -> str:
    return _parse_release((directory / MODULE / "__init__.py").read_text(encoding="utf-8"))


def _archive_label(archive: Path) -> str:
    import zipfile

    try:
        with zipfile.ZipFile(archive) as opened:
            text = opened.read(f"{MODULE}/__init__.py").decode()
            return opened.comment.decode() or _parse_release(text)
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError) as error:
        raise LauncherError(
            f"{archive} cannot be read.",
            f"It is not the server's archive: {error}.",
            "Write it again with `reapi-local init` from an installed reapi-local.",
        ) from error


def _parse_release(text: str) -> str:
    match = _VERSION.search(text)
    return match.group(1) if match else "0"
