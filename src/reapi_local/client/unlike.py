"""Why two versions of an output file differ, where the bytes tell it."""

from __future__ import annotations

import io
import re
import tarfile
import zipfile
from typing import Final

_UNREADABLE: Final = (
    *(OSError, ValueError, EOFError, NotImplementedError),
    *(zipfile.BadZipFile, tarfile.TarError),
)
_MAX_SHOWN: Final = 3
_GZIP: Final = b"\x1f\x8b"
_PYC_HEADER_BYTES: Final = 16
_NUMBERS: Final = re.compile(rb"[0-9]+")
_HEX: Final = re.compile(rb"\b(?:0x)?[0-9a-f]{6,}\b")
_SANDBOX: Final = re.compile(rb"/reapi/root|(?:/[^\s\"':/]+)*/pants-sandbox-\w+")
_HARMLESS: Final = (
    ("the path of the sandbox", _SANDBOX),
    ("numbers, such as times", _NUMBERS),
    ("hexadecimal numbers, such as addresses or hashes", _HEX),
)


def why_unlike(path: str, a: bytes, b: bytes) -> str:
    """A few words that say how the contents differ; never "".

    ``path``: where the file is; its name says what a file without a mark is.
    """
    for look in (_archive, _compiled_python, _gzip, _text):
        try:
            found = look(path, a, b)
        except _UNREADABLE:
            continue
        if found:
            return found
    return _first_byte(a, b)


def _archive(path: str, a: bytes, b: bytes) -> str:
    if zipfile.is_zipfile(io.BytesIO(a)) and zipfile.is_zipfile(io.BytesIO(b)):
        return _entries("zip", _in_zip(a), _in_zip(b))
    if tarfile.is_tarfile(io.BytesIO(a)) and tarfile.is_tarfile(io.BytesIO(b)):
        return _entries("tar", _in_tar(a), _in_tar(b))
    return ""


def _entries(
    what: str, a: dict[str, tuple[object, object]], b: dict[str, tuple[object, object]]
) -> str:
    """``a`` and ``b``: what an entry is and its time, by name."""
    if a.keys() != b.keys():
        return f"the {what} has other entries: {_some(sorted(a.keys() ^ b.keys()))}"
    changed = [name for name in a if a[name][0] != b[name][0]]
    if changed:
        return f"these entries of the {what} differ: {_some(changed)}"
    if any(a[name][1] != b[name][1] for name in a):
        return f"only the times of entries in the {what} differ"
    if list(a) != list(b):
        return f"the entries of the {what} are in another order"
    return ""


def _in_zip(data: bytes) -> dict[str, tuple[object, object]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {i.filename: ((i.CRC, i.file_size), i.date_time) for i in archive.infolist()}


def _in_tar(data: bytes) -> dict[str, tuple[object, object]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {one.name: (_content(archive, one), one.mtime) for one in archive.getmembers()}


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> object:
    file = archive.extractfile(member) if member.isreg() else None
    inside = file.read() if file else b""
    return (inside, member.type, member.mode, member.linkname)


def _compiled_python(path: str, a: bytes, b: bytes) -> str:
    """PEP 552: magic number, flags, then the time and size of the source, or its hash."""
    if not path.endswith(".pyc"):
        return ""
    if a[:4] != b[:4]:
        return "they were compiled by different releases of Python"
    is_by_time = not any(a[4:8]) and not any(b[4:8])
    if is_by_time and a[_PYC_HEADER_BYTES:] == b[_PYC_HEADER_BYTES:]:
        return "only the time of the source in the header of the .pyc differs"
    return ""


def _gzip(path: str, a: bytes, b: bytes) -> str:
    if a[:2] == _GZIP == b[:2] and a[8:] == b[8:] and a[4:8] != b[4:8]:
        return "only the time in the header of the gzip differs"
    return ""


def _text(path: str, a: bytes, b: bytes) -> str:
    for data in (a, b):
        data.decode()
    left, right = a.splitlines(), b.splitlines()
    if len(left) != len(right):
        return f"they have {len(left)} and {len(right)} lines"
    if left != right and sorted(left) == sorted(right):
        return "the lines are in another order"
    pairs = [(n, x, y) for n, (x, y) in enumerate(zip(left, right, strict=True), 1) if x != y]
    if not pairs:
        return ""
    for what, pattern in _HARMLESS:
        if all(pattern.sub(b"", x) == pattern.sub(b"", y) for _, x, y in pairs):
            return f"line {pairs[0][0]} differs, only by {what}"
    return f"line {pairs[0][0]} differs"


def _first_byte(a: bytes, b: bytes) -> str:
    pairs = enumerate(zip(a, b, strict=False))
    at = next((n for n, (x, y) in pairs if x != y), min(len(a), len(b)))
    return f"the first {at} bytes are equal, of {len(a)} and {len(b)}"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else ""
    return ", ".join(names[:_MAX_SHOWN]) + more
