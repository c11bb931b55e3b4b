"""Who makes a call, and what a call does."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Verb(StrEnum):
    """What a call does. A role is the right to one of them."""

    READ = "read"
    WRITE = "write"
    EXECUTE = "execute"
    ADMIN = "admin"


@dataclass(frozen=True)
class Principal:
    """Somebody with a token: a name, the verbs that are allowed, and a trust tier.

    The tier tells whose action-cache entries it may rely on; "" is the only one of a server that
    has a single user.
    """

    name: str
    roles: frozenset[Verb]
    tier: str


OWNER: Final = Principal("owner", frozenset(Verb), "")
"""Who started the server: may do everything."""
