"""Who makes a call, and what a call does."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Verb(StrEnum):
    """What a call does, and what a principal may be allowed to do."""

    READ = "read"
    WRITE = "write"
    EXECUTE = "execute"
    ADMIN = "admin"


@dataclass(frozen=True)
class Principal:
    """Who has a token: a name, the verbs that are allowed, and a trust tier.

    The tier tells whose action-cache entries the principal may rely on. A single-user server has
    only the tier "". ``is_anonymous``: it stands for everybody who calls without a token.
    """

    name: str
    verbs: frozenset[Verb]
    tier: str
    is_anonymous: bool = False


OWNER: Final = Principal("owner", frozenset(Verb), "")
"""The user who started the server, and who may do everything."""

READER: Final = Principal("anonymous", frozenset({Verb.READ}), "", is_anonymous=True)
WRITER: Final = Principal("anonymous", frozenset({Verb.READ, Verb.WRITE}), "", is_anonymous=True)
"""Who calls without a token, if the server answers such calls. They never execute or administer:
what they may do, every program of every user of this machine may."""
