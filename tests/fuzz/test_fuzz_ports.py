"""Whatever bytes come to a port, the server goes on, and its log has no error."""

from __future__ import annotations

import asyncio
import logging
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.conftest import Target
from fuzz.http_bytes import http1_bytes, http2_bytes
from fuzz.scenarios import STORED, batch

RANDOMS = st.randoms(use_true_random=False)


async def sent(port: int, data: bytes) -> bytes:
    """What the server answers until it hangs up, after the client has sent all and said so."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        writer.write(data)
        writer.write_eof()
        while part := await reader.read(2**16):
            answer += part
    except OSError:  # it has hung up already
        pass
    writer.transport.abort()
    return answer


def check_that_it_goes_on(target: Target, caplog: pytest.LogCaptureFixture) -> None:
    assert target.runner.run(target.peer.faults(batch(STORED))) == []
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@given(random=RANDOMS)
@settings(suppress_health_check=list(HealthCheck))
def test_any_bytes_may_come_to_the_grpc_port(
    target: Target, caplog: pytest.LogCaptureFixture, random: Random
) -> None:
    data = http2_bytes(random, target.server.token)
    target.runner.run(sent(target.server.app.grpc_port, data))
    check_that_it_goes_on(target, caplog)


@given(random=RANDOMS)
@settings(suppress_health_check=list(HealthCheck))
def test_any_bytes_may_come_to_the_admin_port(
    target: Target, caplog: pytest.LogCaptureFixture, random: Random
) -> None:
    data = http1_bytes(random, target.server.token)
    answer = target.runner.run(sent(target.server.app.admin_port, data))
    assert b"HTTP/1.1 5" not in answer
    check_that_it_goes_on(target, caplog)
