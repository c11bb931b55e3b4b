"""Whatever a caller sends, it is answered with a code that says whose mistake it is."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.conftest import Target
from fuzz.scenarios import Call, scenario


@given(calls=st.randoms(use_true_random=False).map(scenario))
@settings(max_examples=200, suppress_health_check=list(HealthCheck))
def test_no_call_makes_the_server_fail(
    target: Target, caplog: pytest.LogCaptureFixture, calls: Sequence[Call]
) -> None:
    caplog.clear()
    for call in calls:
        assert target.runner.run(target.peer.faults(call)) == []
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
