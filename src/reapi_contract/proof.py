"""Proofs: each says what was tried, whether it worked, and what to do if it did not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reapi_contract.json_records import from_json, to_json

# Round trips over gRPC, in the order in which the server's own interpreter tries them.
CAPABILITIES = "capabilities"
BLOB = "blob"
ACTION_RESULT = "action-result"
INSTANCE = "instance"
EXECUTION = "execution"
DISK_SPACE = "disk-space"
# What the launcher and the plugin try themselves.
REACHABLE = "reachable"
TOKEN = "token"
SELF_CHECK = "self-check"
ROUND_TRIPS = "round-trips"
CONFIGURED = "configured"
LAST_RUN = "last-run"

# Remedies of the server for which a launcher knows the exact command.
RESTART = "restart the server; its log may say why"
NO_ROOM = "raise the limit of the store, or wait until running builds end"


@dataclass(frozen=True)
class Proof:
    """One thing that was tried. `remedy` says what to do when it failed, and is "" otherwise."""

    name: str = ""
    ok: bool = False
    milliseconds: float = 0.0
    detail: str = ""
    remedy: str = ""


def proof_from(raw: object) -> Proof:
    """A proof from its JSON object; anything else gives a failed proof without a name."""
    return from_json(Proof, raw)


def proofs_json(proofs: Iterable[Proof]) -> dict[str, Any]:
    """The JSON object in which another interpreter reports proofs: `{"proofs": [PROOF, …]}`."""
    return {"proofs": [to_json(proof) for proof in proofs]}


def proofs_from(raw: object) -> list[Proof]:
    """The proofs in such an object.

    Raises:
        ValueError: it is another JSON value.
    """
    listed = raw.get("proofs") if isinstance(raw, Mapping) else None
    if not isinstance(listed, list):
        raise ValueError("there is no list of proofs")
    return [proof_from(one) for one in listed]
