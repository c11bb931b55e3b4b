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
    only the tier "".
    """

    name: str
    verbs: frozenset[Verb]
    tier: str


OWNER: Final = Principal("owner", frozenset(Verb), "")
"""The user who started the server, and who may do everything."""
