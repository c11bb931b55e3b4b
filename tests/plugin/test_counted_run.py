"""`reapi-check` compares what the server answered with what Pants could use of it.

The stand-in for the server tells of one run, `a-run`, with 9 hits and 3 misses.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.harness import REAL, Site
from plugin.test_execution_goals import root, runner, site
from reapi_contract.proof import Proof
from reapi_local_plugin import counted_run

__all__ = ["root", "site"]
pytestmark = pytest.mark.skipif(REAL, reason="the stand-in says what it is told to offer")


def last_run(site: Site, root: Path, run: str, **counters: int) -> Proof:
    """The proof after a run of Pants that counted so."""
    counted = counted_run.counted_run(
        run, {f"remote_cache_requests{suffix}": count for suffix, count in counters.items()}
    )
    if counted is not None:
        counted_run.write(counted, root)
    proofs = runner(site, root).check(print).proofs
    return next(proof for proof in proofs if proof.name == "last-run")


def test_hits_that_pants_could_not_use_fail_the_proof(site: Site, root: Path) -> None:
    site.json("up")
    proof = last_run(site, root, "a-run", **{"": 12, "_cached": 1, "_uncached": 11})
    assert not proof.ok
    assert proof.detail == "the server answered 9 hits, but Pants could not use 8"
    assert "remote_store_batch_load_enabled" in proof.remedy


@pytest.mark.parametrize(
    ("run", "counters"),
    [
        ("a-run", {"": 12, "_cached": 9, "_uncached": 3}),
        # Pants had ended four processes itself before the answer came.
        ("a-run", {"": 12, "_cached": 6, "_uncached": 2}),
        ("another-run", {"": 12, "_cached": 1, "_uncached": 11}),
        # Its first part asked a server that was started anew since.
        ("a-run", {"": 30, "_cached": 0, "_uncached": 30}),
        ("a-run", {"": 0}),
    ],
)
def test_counters_that_show_no_unusable_hit_hold(
    site: Site, root: Path, run: str, counters: dict[str, int]
) -> None:
    site.json("up")
    proof = last_run(site, root, run, **counters)
    assert (proof.ok, proof.detail) == (True, "the last run used it: 9 hits, 3 misses")
