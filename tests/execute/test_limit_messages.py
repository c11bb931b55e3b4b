"""The messages about limits that an action exceeded."""

from __future__ import annotations

from dataclasses import fields

import pytest

from reapi_local.execute.sandbox.interface import ActionLimits
from reapi_local.execute.sandbox.limit_messages import limit_messages


@pytest.mark.parametrize("name", [field.name for field in fields(ActionLimits)])
def test_the_message_of_every_limit_names_the_setting_to_raise(name: str) -> None:
    (sentence,) = limit_messages([name], ActionLimits())
    assert "; raise action_" in sentence or "; raise scratch_" in sentence


@pytest.mark.parametrize(
    ("size", "words"),
    [(4 << 30, "4 GiB"), (1536 << 20, "1536 MiB"), (1001, "1001 bytes"), (1 << 50, "1024 TiB")],
)
def test_sizes_have_the_unit_that_users_set_them_in(size: int, words: str) -> None:
    assert (
        f"filled the {words} "
        in limit_messages(["scratch_bytes"], ActionLimits(scratch_bytes=size))[0]
    )
