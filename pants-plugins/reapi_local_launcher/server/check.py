"""Proofs that the server works: reachable from here, then its own round trips through gRPC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reapi_local_launcher.errors import LauncherError
from reapi_local_launcher.server import admin_client as admin
from reapi_local_launcher.server.running import Running, find_running
from reapi_local_launcher.settings import Settings, Words


@dataclass(frozen=True)
class Proof:
    """One thing that was tried. `remedy` is what to do if it is not ok."""

    name: str
    ok: bool
    milliseconds: float
    detail: str
    remedy: str


def check(
    settings: Settings, env: Mapping[str, str], instance: str, timeout_s: float = 30.0
) -> list[Proof]:
    """The proofs, the first one being that a server is reachable; without that there is only it."""
    running = find_running(settings, env)
    up = settings.words.up
    if running is None:
        return [Proof("reachable", False, 0.0, "no server is running", f"Start one with `{up}`.")]
    where = f"{running.grpc_address}, process {running.pid}, version {running.version}"
    proofs = [Proof("reachable", True, running.milliseconds, where, "")]
    try:
        answer = running.call("POST", "/v1/check", {"instance": instance}, timeout_s)
    except admin.AdminError as error:
        remedy = f"Run `{settings.words.down}` and `{up}`; see {running.state.data_dir}/server.log."
        return [*proofs, Proof("self-check", False, 0.0, str(error), remedy)]
    listed = answer.get("proofs")
    return [*proofs, *map(proof_from, listed if isinstance(listed, list) else [])]


def status(settings: Settings, env: Mapping[str, str]) -> admin.Json | None:
    """What the server tells of itself (the answer of /v1/status); None if none is running.

    Raises LauncherError if it stops answering.
    """
    running = find_running(settings, env)
    return None if running is None else status_of(running, settings.words)


def status_of(running: Running, words: Words) -> admin.Json:
    """The answer of a running server's /v1/status. Raises LauncherError if there is none."""
    try:
        return running.call("GET", "/v1/status")
    except admin.AdminError as error:
        raise LauncherError(
            "The server did not tell its status.",
            f"{error}.",
            f"Prove that it works with `{words.check}`.",
        ) from error


def proof_from(raw: Mapping[str, object]) -> Proof:
    """A proof from the JSON that the server's interpreter tells it in."""
    milliseconds = raw.get("milliseconds")
    return Proof(
        name=str(raw.get("name")),
        ok=raw.get("ok") is True,
        milliseconds=float(milliseconds) if isinstance(milliseconds, (int, float)) else 0.0,
        detail=str(raw.get("detail") or ""),
        remedy=str(raw.get("remedy") or ""),
    )
