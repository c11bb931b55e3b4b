"""Text from clients and actions as a terminal may be given it.

A name or a message may have control sequences, which a terminal would obey: they could rewrite what
stands above, or put text into the clipboard.
"""

from __future__ import annotations

from typing import Any


def printable(text: str, keep: str = "") -> str:
    """The text with all characters escaped that can't be seen, but for those in `keep`."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in keep else one.encode("unicode_escape").decode()
        for one in text
    )


def printable_json(content: Any) -> Any:
    """A JSON value in which all strings are printable, names too."""
    if isinstance(content, str):
        return printable(content)
    if isinstance(content, list):
        return [printable_json(one) for one in content]
    if isinstance(content, dict):
        return {printable(name): printable_json(value) for name, value in content.items()}
    return content
