"""Asking a running server for objects of its store."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from reapi_contract import inspection
from reapi_contract.inspection import MAX_PIECE_BYTES, WHY_GONE, Described, described_from
from reapi_local_launcher.labels import Labels
from reapi_local_launcher.launcher_error import LauncherError
from reapi_local_launcher.server import admin_client as admin
from reapi_local_launcher.server.running import Running

_MAX_S = 60.0
NO_ROUTE = "Not Found"
"""What a server of a release without these routes says."""


@dataclass(frozen=True)
class Objects:
    """Objects of a server. `instance`: None = any. `kind`: what blobs are taken for, "" = judge.

    `secrets`: whether secret values are shown. All methods raise LauncherError.
    """

    running: Running
    labels: Labels
    instance: str | None = None
    kind: str = ""
    secrets: bool = False

    def describe(self, digest: str) -> admin.Json:
        """One object; `described_from` reads it."""
        return self._get(_path(inspection.OBJECT, digest), {})

    def tree(self, digest: str, path: str, depth: int | None, limit: int) -> admin.Json:
        """What is in a tree; `listing_from` reads it."""
        levels = {} if depth is None else {"depth": str(depth)}
        query = {"path": path, "limit": str(limit), **levels}
        return self._get(_path(inspection.TREE, digest), query)

    def differences(self, a: str, b: str, path: str) -> admin.Json:
        """What differs; `differences_from` reads it."""
        return self._get(inspection.DIFFERENCES, {"a": a, "b": b, "path": path})

    def content(self, digest: str) -> Iterator[bytes]:
        """The content of a blob, piece by piece."""
        offset = 0
        while True:
            answer = self._get(_path(inspection.BLOB, digest), {"offset": str(offset)})
            piece = base64.b64decode(str(answer.get("data", "")))
            yield piece
            offset += len(piece)
            if len(piece) < MAX_PIECE_BYTES:
                return

    def action(self, digest: str) -> Described:
        """An action that is to be run: the store has its command and its inputs."""
        found = described_from(self.describe(digest))
        if found.kind != inspection.ACTION:
            raise LauncherError(
                "That is no action.",
                f"{found.digest} is a {found.kind}.",
                "Name an action: `reapi-local show` says what a digest is.",
            )
        if found.lost:
            raise LauncherError(
                "The action can't be run again.",
                f"The store doesn't have {', '.join(found.lost)}.",
                WHY_GONE,
            )
        return found

    def _get(self, path: str, query: dict[str, str]) -> admin.Json:
        asked = {"as": self.kind, "secrets": "1" if self.secrets else ""}
        if self.instance is not None:
            asked["instance"] = self.instance
        wanted = {name: value for name, value in {**asked, **query}.items() if value}
        if self.instance == "":
            wanted["instance"] = ""
        try:
            return self.running.call("GET", f"{path}?{urlencode(wanted)}", timeout_s=_MAX_S)
        except admin.AdminRefusedError as error:
            raise _refused(error, self.labels) from error
        except admin.AdminError as error:
            raise LauncherError(
                "The server did not answer.",
                f"{error}.",
                f"Prove that it works with `{self.labels.check}`.",
            ) from error


def _path(route: str, digest: str) -> str:
    return route.replace("{digest:path}", quote(digest))


def lost_note(lost: tuple[str, ...]) -> str:
    """What is told about blobs that the store doesn't have."""
    return f"The store doesn't have {', '.join(lost)}. {WHY_GONE}"


def _sentence(text: str) -> str:
    """The text with a full stop, and a capital letter unless it begins with a digest."""
    begins_with_digest = "/" in text.partition(" ")[0]
    return f"{text}." if begins_with_digest else f"{text[:1].upper()}{text[1:]}."


def _refused(error: admin.AdminRefusedError, labels: Labels) -> LauncherError:
    why = _sentence(str(error))
    if error.status == 404 and str(error) == NO_ROUTE:
        return LauncherError(
            "The server can't show what it holds.",
            "It is of an older release.",
            f"Replace it with `{labels.up}`.",
        )
    if error.status == 404:
        return LauncherError("There is nothing to show.", why, WHY_GONE)
    return LauncherError(
        "The server can't show that.", why, "`reapi-local help show` says what can be named."
    )
