"""A server process says who can call it and who can listen, or why it doesn't start."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from reapi_local.proto.remote_execution_pb2 import GetCapabilitiesRequest
from rpc.certificates import authority
from rpc.helpers import Client, refusal
from server.process import Process, state_of, stop


def test_a_server_that_others_can_reach_says_that_nothing_is_encrypted(tmp_path: Path) -> None:
    with Process("--data-dir", str(tmp_path), "--host", "0.0.0.0") as process:
        process.serving()
        assert "nothing is encrypted" in process.logged("WARNING")
        assert "Actions are not executed" in process.logged("WARNING")
        stop(process)


def test_a_server_that_needs_no_token_says_so(tmp_path: Path) -> None:
    flags = ("--auth", "none", "--execution", "off")
    with Process("--data-dir", str(tmp_path), *flags) as process:
        process.serving()
        assert "every program of every user" in process.logged("WARNING")
        stop(process)


async def test_with_tls_a_server_that_others_can_reach_warns_of_nothing_but_execution(
    tmp_path: Path,
) -> None:
    own = authority(tmp_path / "tls")
    tls = [word for name, value in own.settings.items() for word in (_flag(name), value)]
    data = tmp_path / "data"
    with Process("--data-dir", str(data), "--host", "0.0.0.0", *tls) as process:
        process.serving()
        assert "Actions are not executed" in process.logged("WARNING")
        state = state_of(data)
        client = Client(f"localhost:{state['grpc_port']}", [], tls=own.trusting())
        call = client.GetCapabilities(GetCapabilitiesRequest())
        await refusal(call, grpc.StatusCode.UNAUTHENTICATED)
        await client.channel.close(None)
        stop(process)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--auth", "none"], "write the cache"),
        (["--auth", "none", "--execution", "off", "--host", "0.0.0.0"], "other machines"),
        (["--auth", "none", "--execution", "off", "--transport", "native"], "has no limit"),
        (["--tls-cert", "c", "--tls-key", "k", "--transport", "native"], "has no TLS"),
        (["--tls-cert", "no-such", "--tls-key", "k"], "no-such can't be read"),
    ],
)
def test_what_is_not_served_is_told_to_whoever_starts_it(
    tmp_path: Path, flags: list[str], words: str
) -> None:
    with Process("--data-dir", str(tmp_path / "data"), *flags, cwd=tmp_path) as process:
        ready = process.ready()
        _, errors = process.end()
    assert (ready["ready"], ready["error"]) == (False, "settings")
    assert words in ready["message"]
    assert ready["message"] in errors
