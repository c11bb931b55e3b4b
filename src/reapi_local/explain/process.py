"""A process as far as it decides about its cache key, and what became of it in its run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from reapi_contract.run_reports import KEPT_SCOPES
from reapi_local.protocol.digest import Digest

PANTS_KEY_PREFIX: Final = "PANTS_CACHE_KEY_"
"""Variables of a Command by which Pants changes the key; a report of Pants has none of them."""
SALT: Final = f"{PANTS_KEY_PREFIX}SALT"
KEPT_BY_CACHE: Final = ("", *KEPT_SCOPES)
"""The cache scopes of Pants whose results outlive its daemon; "" is no scope of Pants."""


@dataclass(frozen=True)
class Definition:
    """What makes the key of an action. Two equal definitions have one cache entry.

    ``environment``: a value that is a secret is a keyed hash of it, so it can only be compared.
    ``timeout_ms``: 0 = none. ``is_remote``: it was executed by a server, not by its client.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: str = ""
    input_root: Digest | None = None
    output_files: tuple[str, ...] = ()
    output_directories: tuple[str, ...] = ()
    platform: Mapping[str, str] = field(default_factory=dict)
    caches: Mapping[str, str] = field(default_factory=dict)
    timeout_ms: int = 0
    is_remote: bool = False


@dataclass(frozen=True)
class Origin:
    """The run in which a process was: who ran it, with what, and where. Times since the epoch."""

    run: str = ""
    instance: str = ""
    machine: str = ""
    tool: str = ""
    plugin: str = ""
    started_at: float = 0.0
    reads: bool = True
    writes: bool = True


@dataclass(frozen=True)
class Process:
    """One process of one run.

    ``was_asked``: the remote cache was asked for it. ``ran``: it was executed; else it was a hit.
    ``scope``: Pants' cache scope. ``milliseconds``: how long it ran, or would have run.
    """

    name: str
    description: str
    definition: Definition
    origin: Origin = field(default_factory=Origin)
    ran: bool = True
    was_asked: bool = True
    exit_code: int = 0
    milliseconds: int = 0
    scope: str = ""
