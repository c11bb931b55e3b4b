"""Contents within a result."""

from __future__ import annotations

import pytest

from contexts import context
from reapi_local.execute.inline_request import InlineRequest
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import DigestFunction, digest_of
from reapi_local.store.memory import MemoryStore

MIB = 1024 * 1024


class Results:
    """Makes results, and keeps what they name in a store."""

    def __init__(self, function: DigestFunction = DigestFunction.SHA256) -> None:
        self.store, self.function = MemoryStore(), function

    def blob(self, data: bytes, *, keep: bool = True) -> re_pb2.Digest:
        digest = digest_of(data, self.function)
        if keep:
            self.store.blobs[digest] = data
        return re_pb2.Digest(hash=digest.hash_hex, size_bytes=digest.size_bytes)

    def result(
        self, stdout: bytes, stderr: bytes = b"", files: dict[str, bytes] | None = None
    ) -> re_pb2.ActionResult:
        return re_pb2.ActionResult(
            stdout_digest=self.blob(stdout),
            stderr_digest=self.blob(stderr),
            output_files=[
                re_pb2.OutputFile(path=path, digest=self.blob(data))
                for path, data in (files or {}).items()
            ],
        )

    async def filled(
        self, result: re_pb2.ActionResult, inline: InlineRequest
    ) -> re_pb2.ActionResult:
        return await inline.fill(context("run"), result, self.store, self.function)


@pytest.mark.parametrize("function", DigestFunction)
async def test_what_is_asked_for_comes_and_its_digest_stays(function: DigestFunction) -> None:
    results = Results(function)
    result = results.result(b"out", b"err", {"a": b"A", "b/c": b"C", "d": b"D"})
    inline = InlineRequest(stdout=True, stderr=True, files=frozenset({"a", "b/c", "absent"}))
    filled = await results.filled(result, inline)
    assert (filled.stdout_raw, filled.stderr_raw) == (b"out", b"err")
    assert [file.contents for file in filled.output_files] == [b"A", b"C", b""]
    for message in (filled, *filled.output_files):
        message.ClearField("contents" if isinstance(message, re_pb2.OutputFile) else "stdout_raw")
    filled.ClearField("stderr_raw")
    assert filled == result


async def test_each_is_given_on_its_own() -> None:
    results = Results()
    result = results.result(b"out", b"err", {"a": b"A"})
    out, err = InlineRequest(stdout=True), InlineRequest(stderr=True)
    assert (await results.filled(result, out)).stdout_raw == b"out"
    assert not (await results.filled(result, out)).stderr_raw
    assert (await results.filled(result, err)).stderr_raw == b"err"
    assert not (await results.filled(result, err)).stdout_raw


async def test_a_result_that_others_see_is_left_as_it_is() -> None:
    results = Results()
    result = results.result(b"out", files={"a": b"A"})
    before = result.SerializeToString()
    await results.filled(result, InlineRequest(True, True, frozenset({"a"})))
    assert result.SerializeToString() == before
    assert await results.filled(result, InlineRequest()) is result


async def test_what_finds_no_room_is_left_out_and_smaller_things_after_it_are_not() -> None:
    results = Results()
    result = results.result(b"o" * (MIB - 10), b"e" * 11, {"a": b"a" * 10, "b": b"b"})
    filled = await results.filled(result, InlineRequest(True, True, frozenset({"a", "b"})))
    assert len(filled.stdout_raw) == MIB - 10
    assert not filled.stderr_raw
    assert [file.contents for file in filled.output_files] == [b"a" * 10, b""]


async def test_a_result_without_streams_stays_without_them() -> None:
    results = Results()
    filled = await results.filled(re_pb2.ActionResult(exit_code=3), InlineRequest(True, True))
    assert filled == re_pb2.ActionResult(exit_code=3)


async def test_a_blob_that_is_gone_takes_nothing_away() -> None:
    results = Results()
    gone = results.blob(b"gone", keep=False)
    result = re_pb2.ActionResult(
        stdout_digest=gone,
        stderr_digest=gone,
        stderr_raw=b"gone",
        output_files=[re_pb2.OutputFile(path="a", digest=gone, contents=b"gone")],
    )
    filled = await results.filled(result, InlineRequest(True, True, frozenset({"a"})))
    assert filled == result
