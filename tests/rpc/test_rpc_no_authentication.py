"""A server that answers calls without a token: what they may do, and how it says so."""

from __future__ import annotations

import logging
from pathlib import Path

import grpc
import pytest

from reapi_local.proto.remote_execution_pb2 import (
    ActionResult,
    ExecuteRequest,
    GetActionResultRequest,
    GetCapabilitiesRequest,
    UpdateActionResultRequest,
)
from rpc.helpers import digest_of, pieces, refusal, serving, upload_name

DENIED = grpc.StatusCode.PERMISSION_DENIED
ACTION = digest_of(b"an action")
UPDATE = UpdateActionResultRequest(action_digest=ACTION, action_result=ActionResult(exit_code=7))
GET = GetActionResultRequest(action_digest=ACTION)


async def test_whoever_has_no_token_reads(tmp_path: Path) -> None:
    async with serving(tmp_path, "auto", auth="none") as server:
        digest = await server.client.upload(b"of the owner")
        await server.client.UpdateActionResult(UPDATE)
        stranger = server.connect(token=False)
        assert await stranger.download(digest) == b"of the owner"
        assert (await stranger.GetActionResult(GET)).exit_code == 7
        remedies = ("send the token", "--anonymous write")
        write = stranger.Write(pieces(upload_name(ACTION), b"an action"))
        await refusal(write, DENIED, "anonymous may not write here", *remedies)
        await refusal(stranger.UpdateActionResult(UPDATE), DENIED, *remedies)
        await refusal(stranger.Execute(ExecuteRequest(action_digest=ACTION)), DENIED, "token")
        cache = (await stranger.GetCapabilities(GetCapabilitiesRequest())).cache_capabilities
        assert not cache.action_cache_update_capabilities.update_enabled
        [note] = (await server.status())["notes"]
        assert "auth is none" in note
        assert "may read everything" in note
        assert all(proof.ok for proof in await server.app.check(""))


async def test_a_second_word_lets_them_write_but_not_execute(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, "auto", auth="none", anonymous="write") as server:
        stranger = server.connect(token=False)
        await stranger.upload(b"of a stranger")
        await stranger.UpdateActionResult(UPDATE)
        assert (await server.client.GetActionResult(GET)).exit_code == 7
        await refusal(stranger.Execute(ExecuteRequest(action_digest=ACTION)), DENIED, "token")
        answer = await stranger.GetCapabilities(GetCapabilitiesRequest())
        assert answer.cache_capabilities.action_cache_update_capabilities.update_enabled
        assert not answer.HasField("execution_capabilities")
        [note] = (await server.status())["notes"]
        assert "may read and write everything" in note


async def test_a_wrong_token_is_told_so(tmp_path: Path) -> None:
    async with serving(tmp_path, "auto", auth="none") as server:
        stranger = server.connect(("authorization", "Bearer wrong"), token=False)
        await refusal(stranger.GetActionResult(GET), grpc.StatusCode.UNAUTHENTICATED, "know")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"host": "0.0.0.0", "execution": "off"}, ["nothing is encrypted"]),
        ({"host": "0.0.0.0", "execution": "auto"}, ["nothing is encrypted", "not executed"]),
        ({"auth": "none"}, ["auth is none"]),
        ({"execution": "auto", "sandbox": "process-group"}, []),
    ],
)
async def test_what_a_server_warns_of_when_it_starts(
    tmp_path: Path, settings: dict[str, str], words: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with serving(tmp_path, "grpcio", **settings) as server:
        warnings = server.app.warnings()
        assert len(warnings) == len(words)
        for warning, word in zip(warnings, words, strict=True):
            assert word in warning
