"""The paths that actions see. Slots load this module, so it imports little."""

from __future__ import annotations

from typing import Final

INPUT_ROOT: Final = "/reapi/root"
"""The path of the input root. All actions have the same, so outputs can't depend on the path."""

HOME: Final = "/reapi/home"
"""The action's private home directory: empty at the start, and writable."""

CACHES: Final = "/reapi/caches"
"""The named caches, which all actions of an instance share."""
