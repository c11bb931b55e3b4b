"""Instance names, each of which has its own action cache.

Source: REAPI v2, the ``instance_name`` fields and the ByteStream resource names.
"""

from __future__ import annotations

from typing import Final

from reapi_local.errors import InvalidRequest

MAX_NAME_BYTES: Final = 255
"""An action-cache key includes the name, and keys of the index have at most 511 bytes."""

RESERVED_SEGMENTS: Final = frozenset(
    {
        "blobs",
        "uploads",
        "actions",
        "actionResults",
        "operations",
        "capabilities",
        "compressed-blobs",
    }
)
"""Words that end the instance name within a resource name (REAPI v2)."""


def check_instance_name(name: str) -> str:
    """Returns ``name`` if it can be an instance name; "" and names with slashes can.

    Raises:
        InvalidRequest: it is too long, or has an empty segment, a control character or a reserved
            word.
    """
    if not name:
        return name
    if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        raise InvalidRequest(
            f"instance name of more than {MAX_NAME_BYTES} bytes; use a shorter one"
        )
    if not name.isprintable():
        raise InvalidRequest(f"instance name {name!r} has characters that can't be printed")
    for segment in name.split("/"):
        if not segment:
            raise InvalidRequest(
                f"instance name {name!r} has an empty segment; write a/b, not a//b"
            )
        if segment in RESERVED_SEGMENTS:
            raise InvalidRequest(
                f"instance name {name!r}: REAPI reserves the word {segment!r}; use another"
            )
    return name
