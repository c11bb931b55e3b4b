"""Which profile a client gets: it is chosen by the tool's name."""

from __future__ import annotations

from typing import Final

from reapi_local.context import Metadata
from reapi_local.execute.clients.pants import PANTS
from reapi_local.execute.clients.profile import DEFAULT, ClientProfile

_BY_TOOL: Final[dict[str, ClientProfile]] = {"pants": PANTS}


def profile_of(metadata: Metadata) -> ClientProfile:
    """The profile of the tool that makes a call."""
    return _BY_TOOL.get(metadata.tool_name, DEFAULT)
