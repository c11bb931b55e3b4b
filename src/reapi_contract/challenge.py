"""The challenge: a server proves that it has the token before a client sends the token to it.

After a server was killed, a program of another user can take its ports. It can't read the state
file, so it doesn't know the token and can't answer. The answer is bound to the start of the server
and to both of its ports, so the answer of another server, passed on, proves nothing.

Source: RFC 2104 (HMAC), with SHA-256.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from dataclasses import dataclass

PATH = "/v1/challenge"
"""GET with the query `nonce`, the only request that needs no token: `Answer`."""

_PURPOSE = "reapi-local challenge 1"


@dataclass(frozen=True)
class Subject:
    """What an answer is about: one start of one server. A client has it from the state file."""

    token: str
    boot_id: str
    grpc_port: int
    admin_port: int


@dataclass(frozen=True)
class Answer:
    """Whether the server serves, its address for clients, and the proof: HMAC in hex."""

    status: str = ""
    grpc_address: str = ""
    proof: str = ""


def new_nonce() -> str:
    """Characters that no client has sent before."""
    return secrets.token_hex(16)


def is_nonce(text: str) -> bool:
    """Whether a server answers to these characters."""
    return re.fullmatch("[0-9a-f]{32}", text) is not None


def answer(subject: Subject, nonce: str, status: str, grpc_address: str) -> Answer:
    """What a server answers."""
    return Answer(status, grpc_address, _proof(subject, nonce, status, grpc_address))


def proves(given: Answer, subject: Subject, nonce: str) -> bool:
    """Whether the answer is that of the subject, to this nonce."""
    right = _proof(subject, nonce, given.status, given.grpc_address)
    return hmac.compare_digest(right.encode(), given.proof.encode(errors="replace"))


def _proof(subject: Subject, nonce: str, status: str, grpc_address: str) -> str:
    said = [_PURPOSE, nonce, subject.boot_id, subject.grpc_port, subject.admin_port]
    message = json.dumps([*said, status, grpc_address])
    return hmac.new(subject.token.encode(), message.encode(), hashlib.sha256).hexdigest()
