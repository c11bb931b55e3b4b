"""Test cases for kernels without Landlock."""

from __future__ import annotations

from execute.sandbox_bench import Bench, cases_in, run_cases
from reapi_local.execute.sandbox.interface import ActionLimits


async def a_note_says_that_ports_stay_open_and_actions_run(bench: Bench) -> None:
    bench.closed_ports = (1,)
    async with bench.limited(ActionLimits()):
        assert [note for note in bench.sandbox.notes if "ports of this server" in note]
        ran = await bench.shell("echo works", network=True)
        assert (ran.stdout, ran.stderr) == (b"works\n", b"")


CASES = cases_in(globals())

if __name__ == "__main__":
    run_cases(CASES)
