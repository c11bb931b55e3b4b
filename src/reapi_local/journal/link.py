"""The link between a process that a tool reports and its action.

A reporter doesn't know the digest of the action, and the tool sends no metadata with a result. So
both sides are compared by what the action is made of: arguments, environment and input root.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Final

_BYTES: Final = 16
_OWN_VARIABLES: Final = "PANTS_CACHE_KEY_"
"""Variables that Pants adds to a Command; the definition of the process doesn't have them."""


def link_of(argv: Sequence[str], env: Mapping[str, str], input_root: str) -> bytes:
    """The key by which a process and its action find each other. ``input_root``: "HASH/SIZE".

    Two actions that differ in timeout, platform or outputs alone have the same key.
    """
    variables = sorted(
        (name, value) for name, value in env.items() if not name.startswith(_OWN_VARIABLES)
    )
    text = json.dumps([list(argv), variables, input_root])
    return hashlib.sha256(text.encode()).digest()[:_BYTES]
