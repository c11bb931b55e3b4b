"""Whatever bytes come to a port, the server goes on, and its log has no error."""

from __future__ import annotations

import logging
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.conftest import Target
from fuzz.http_bytes import http1_bytes, http2_bytes
from fuzz.scenarios import STORED, batch
from rpc.frames import answer_to

RANDOMS = st.randoms(use_true_random=False)


def check_that_it_goes_on(target: Target, caplog: pytest.LogCaptureFixture) -> None:
    assert target.runner.run(target.peer.faults(batch(STORED))) == []
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@given(random=RANDOMS)
@settings(suppress_health_check=list(HealthCheck))
def test_any_bytes_may_come_to_the_grpc_port(
    target: Target, caplog: pytest.LogCaptureFixture, random: Random
) -> None:
    data = http2_bytes(random, target.server.token)
    target.runner.run(answer_to(target.server.app.grpc_port, data))
    check_that_it_goes_on(target, caplog)


@given(random=RANDOMS)
@settings(suppress_health_check=list(HealthCheck))
def test_any_bytes_may_come_to_the_admin_port(
    target: Target, caplog: pytest.LogCaptureFixture, random: Random
) -> None:
    data = http1_bytes(random, target.server.token)
    answer = target.runner.run(answer_to(target.server.app.admin_port, data))
    assert b"HTTP/1.1 5" not in answer
    check_that_it_goes_on(target, caplog)
