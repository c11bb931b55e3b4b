"""Which profile a client gets: it is chosen by the tool's name."""

from __future__ import annotations

from typing import Final

from reapi_local.context import Metadata
from reapi_local.execute.clients.pants import PANTS, made_by_pants
from reapi_local.execute.clients.profile import DEFAULT, ClientProfile
from reapi_local.proto import remote_execution_pb2 as re_pb2

_PANTS: Final = "pants"
_BY_TOOL: Final[dict[str, ClientProfile]] = {_PANTS: PANTS}

_REPLAY: Final = "reapi-local replay "
"""How the name of a tool begins that executes another one's action again."""


def profile_of(metadata: Metadata) -> ClientProfile:
    """The profile of the tool that makes a call, or whose action it executes again."""
    return _BY_TOOL.get(metadata.tool_name.removeprefix(_REPLAY), DEFAULT)


def name_for_replay(command: re_pb2.Command) -> str:
    """The tool name with which an action gets the profile of the client that made it.

    It is judged by the command: an action doesn't say which client it is of.
    """
    return f"{_REPLAY}{_PANTS if made_by_pants(command) else 'action'}"
