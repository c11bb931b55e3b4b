"""What a person may have meant by a word that is none of the known ones."""

from __future__ import annotations

from collections.abc import Iterable

_SIMILAR = 0.6
"""As `difflib` counts: 0 for nothing in common, 1 for the same."""


def similar_to(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most like `word`; None if none is."""
    from difflib import get_close_matches

    names = {one.lstrip("-"): one for one in known}  # the dashes alone make no two flags alike
    found = get_close_matches(word.lstrip("-"), names, n=1, cutoff=_SIMILAR)
    return names[found[0]] if found else None


def no_such(kind: str, word: str, known: Iterable[str]) -> str:
    """A sentence: there is no command or flag of this name, and which one is like it."""
    meant = similar_to(word, known)
    return f"There is no {kind} `{word}`" + (f"; did you mean `{meant}`?" if meant else ".")
