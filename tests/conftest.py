"""What holds for all tests."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from reapi_contract import port_holder
from reapi_contract.data_dir import HOLDER_SOCKET

# Property tests try the same examples each time, however long these take.
# `--hypothesis-profile=thorough` tries ten times as many.
settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", settings.get_profile("repeatable"), max_examples=1000)
settings.load_profile("repeatable")

# A shell lets its background jobs ignore Ctrl-C, and these let all that they start: also what a
# test ends with Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def no_ports_stay_held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let what holds the ports of servers that tests have killed end with the tests."""
    root = os.fsencode(tmp_path_factory.getbasetemp())
    yield
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        for word in words:
            if word.startswith(root) and word.endswith(b"/" + HOLDER_SOCKET.encode()):
                port_holder.end_if_any(os.path.dirname(word.decode()))
