"""What Pants loads: the goals, and the hook that gives Pants the server's address."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from reapi_local_plugin import goals, reporter
from reapi_local_plugin.remote_auth import remote_auth

__all__ = ["remote_auth", "rules"]


def rules() -> Iterable[Any]:
    return (*goals.rules(), *reporter.rules())
