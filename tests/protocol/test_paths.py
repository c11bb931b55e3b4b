"""Paths below the input root: resolved by name alone, and refused only where they leave it."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reapi_local.errors import InvalidRequest, PathLeavesRoot
from reapi_local.protocol.paths import resolve_path

NAMES = st.sampled_from(["a", "b", "...", ".hidden", "a b", "ä"])
PLACES = st.lists(NAMES, max_size=4).map("/".join)
SPELT = st.lists(st.one_of(NAMES, st.sampled_from(["", ".", ".."])), max_size=8).map("/".join)


@given(PLACES, SPELT)
@example("", "")
@example("a", "..")
@example("a/b", "../../..")
@example("", "a/../..")
def test_a_path_is_what_posix_makes_of_it_or_it_leaves_the_input_root(
    directory: str, path: str
) -> None:
    if path.startswith("/"):
        path = f".{path}"
    expected = posixpath.normpath(posixpath.join(directory, path))
    if expected.split("/")[0] == "..":
        with pytest.raises(PathLeavesRoot):
            resolve_path(directory, path)
    else:
        assert resolve_path(directory, path) == ("" if expected == "." else expected)


@given(PLACES, st.one_of(SPELT, st.text(max_size=12)))
def test_a_place_never_leaves_the_input_root_and_is_its_own_place(
    directory: str, path: str
) -> None:
    try:
        place = resolve_path(directory, path)
    except InvalidRequest:
        return
    assert not {"", ".", ".."} & set(place.split("/")) or place == ""
    assert "\0" not in place
    assert resolve_path("", place) == place
    assert resolve_path(place, "") == place


@pytest.mark.parametrize("path", ["/", "/a", "//a", "a\0", "\0"])
def test_a_path_that_is_absolute_or_has_a_nul_character_is_refused(path: str) -> None:
    for directory in ("", "a/b"):
        with pytest.raises(InvalidRequest, match=r"absolute|NUL"):
            resolve_path(directory, path)
