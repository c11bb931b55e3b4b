"""Proofs: what was tried of a server, and what to do about what failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Round trips that the server's own interpreter makes, in the order in which they are tried.
CAPABILITIES = "capabilities"
BLOB = "blob"
ACTION_RESULT = "action-result"
INSTANCE = "instance"
TOKEN = "token"
EXECUTION = "execution"
# What the launcher and the plugin try themselves.
REACHABLE = "reachable"
SELF_CHECK = "self-check"
ROUND_TRIPS = "round-trips"
CONFIGURED = "configured"
LAST_RUN = "last-run"


@dataclass(frozen=True)
class Proof:
    """One thing that was tried. `remedy` is "" when it worked."""

    name: str
    ok: bool
    milliseconds: float
    detail: str
    remedy: str = ""


def proof_from(raw: Mapping[str, object]) -> Proof:
    """A proof from the JSON object in which another interpreter tells of it."""
    milliseconds = raw.get("milliseconds")
    return Proof(
        name=str(raw.get("name")),
        ok=raw.get("ok") is True,
        milliseconds=float(milliseconds) if isinstance(milliseconds, (int, float)) else 0.0,
        detail=str(raw.get("detail") or ""),
        remedy=str(raw.get("remedy") or ""),
    )
