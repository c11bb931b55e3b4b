"""Which sandbox is chosen, and the reasons against the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from reapi_local.execute.sandbox.choose import Chosen, choose
from reapi_local.execute.sandbox.interface import ProcessResult, ProcessSpec, SandboxError


class FakeSandbox:
    """Works, or fails to start with ``error``."""

    root = "/reapi/root"
    notes = ()

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.is_open = False

    async def start(self) -> None:
        self.is_open = True
        if self.error is not None:
            raise self.error

    async def close(self) -> None:
        self.is_open = False

    def run(
        self, spec: ProcessSpec, stop: asyncio.Event
    ) -> AbstractAsyncContextManager[ProcessResult]:
        raise NotImplementedError


class Machine:
    """Three sandboxes, of which some are broken."""

    def __init__(self, **errors: BaseException) -> None:
        names = ("slots", "bubblewrap", "process_group")
        self.sandboxes = {name.replace("_", "-"): FakeSandbox(errors.get(name)) for name in names}
        self.made: list[str] = []

    async def choose(self, wanted: str) -> Chosen:
        return await choose(wanted, {name: self._maker(name) for name in self.sandboxes})

    def _maker(self, name: str) -> Callable[[], FakeSandbox]:
        def make() -> FakeSandbox:
            self.made.append(name)
            return self.sandboxes[name]

        return make

    def opened(self) -> list[str]:
        return [name for name, sandbox in self.sandboxes.items() if sandbox.is_open]


async def test_the_strongest_is_chosen_and_no_other_is_made() -> None:
    machine = Machine()
    chosen = await machine.choose("auto")
    assert chosen == Chosen(machine.sandboxes["slots"], "slots", ())
    assert machine.made == ["slots"]


@pytest.mark.parametrize("error", [SandboxError("no overlays; cure it."), OSError("no overlays")])
async def test_if_slots_dont_work_bubblewrap_is_chosen_and_the_reason_given(
    error: Exception,
) -> None:
    machine = Machine(slots=error)
    chosen = await machine.choose("auto")
    assert (chosen.sandbox, chosen.level) == (machine.sandboxes["bubblewrap"], "bubblewrap")
    (reason,) = chosen.reasons
    assert "slots" in reason
    assert "no overlays" in reason
    assert reason.endswith(".")
    assert not reason.endswith("..")
    assert machine.opened() == ["bubblewrap"]


async def test_if_no_sandbox_works_none_is_chosen_and_all_reasons_are_given() -> None:
    machine = Machine(slots=SandboxError("no overlays"), bubblewrap=SandboxError("no bwrap"))
    chosen = await machine.choose("auto")
    assert (chosen.sandbox, chosen.level) == (None, "")
    said = " ".join(chosen.reasons)
    assert "no overlays" in said
    assert "no bwrap" in said
    assert "process-group" in said
    assert machine.made == ["slots", "bubblewrap"]
    assert machine.opened() == []


@pytest.mark.parametrize("wanted", ["slots", "bubblewrap", "process-group"])
async def test_a_named_sandbox_is_chosen(wanted: str) -> None:
    machine = Machine()
    assert await machine.choose(wanted) == Chosen(machine.sandboxes[wanted], wanted, ())
    assert machine.made == [wanted]


@pytest.mark.parametrize("wanted", ["slots", "bubblewrap", "process-group"])
async def test_a_named_sandbox_that_doesnt_work_is_not_replaced_by_another(wanted: str) -> None:
    machine = Machine(**{wanted.replace("-", "_"): SandboxError("no luck")})
    chosen = await machine.choose(wanted)
    assert chosen == Chosen(None, "", (f"The sandbox {wanted} doesn't work here: no luck.",))
    assert machine.opened() == []


async def test_a_cancelled_start_leaves_nothing_open() -> None:
    machine = Machine(slots=asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await machine.choose("auto")
    assert machine.opened() == []
