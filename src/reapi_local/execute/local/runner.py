"""Running one job: inputs, sandbox, outputs, store, action cache."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Final

from google.protobuf import struct_pb2
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import status_pb2

from reapi_local.clock import Clock
from reapi_local.errors import BadOutput, ReapiError
from reapi_local.execute.local.inputs.input_roots import InputRoots
from reapi_local.execute.local.job import Job
from reapi_local.execute.local.outputs import (
    IN_MEMORY_BYTES,
    CancelCheck,
    LargeFile,
    Outputs,
    digest_of_file,
    never_cancelled,
)
from reapi_local.execute.sandbox.interface import ProcessResult, Sandbox
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, digest_of
from reapi_local.store.types import ActionCache, Blob, BlobStore, StoredResult
from reapi_local.threads import in_thread

_log = logging.getLogger(__name__)
_CHUNK_BYTES: Final = 1024 * 1024
_NANOS: Final = 1_000_000_000


class Stop:
    """Asks a running job to end; ``error`` is then what its client is told."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.error: ReapiError | None = None

    def set(self, error: ReapiError) -> None:
        """The first one counts."""
        if self.error is None:
            self.error = error
            self.event.set()

    def check(self) -> None:
        """Raises ``error`` once it is set."""
        if self.error is not None:
            raise self.error


class Runner:
    """Runs jobs in a sandbox. What they leave is in ``blobs`` before a response names it."""

    def __init__(
        self,
        sandbox: Sandbox,
        input_roots: InputRoots,
        blobs: BlobStore,
        results: ActionCache,
        clock: Clock,
    ) -> None:
        self._sandbox, self._input_roots = sandbox, input_roots
        self._blobs, self._results, self._clock = blobs, results, clock
        self._worker = socket.gethostname()

    async def run(
        self,
        job: Job,
        queued_at: float,
        stop: Stop,
        started: Callable[[], None],
        ended: Callable[[], None],
    ) -> re_pb2.ExecuteResponse:
        """Run the job to its end and keep its result if it is one to keep.

        ``queued_at`` in seconds since the epoch. ``started`` is called when the process is about
        to start, its inputs being there, and ``ended`` when it has ended, its outputs not being
        stored yet.

        Raises:
            MissingInputs: blobs of the input root aren't in the store.
            ReapiError: a result can't be had for another reason.
            SandboxError: the sandbox failed.
        """
        metadata = re_pb2.ExecutedActionMetadata(worker=self._worker)
        metadata.queued_timestamp.CopyFrom(_timestamp(queued_at))
        self._stamp(metadata.worker_start_timestamp)
        self._stamp(metadata.input_fetch_start_timestamp)
        async with self._input_roots.hold(job.action.input_root, job.caller.run) as layers:
            self._stamp(metadata.input_fetch_completed_timestamp)
            spec = replace(job.spec, layers=layers)
            started()
            async with self._sandbox.run(spec, stop.event) as outcome:
                ended()
                _describe(metadata, outcome)
                self._stamp(metadata.output_upload_start_timestamp)
                # What a stopped process left is collected all the same: it tells why it hung.
                go_on = never_cancelled if outcome.stopped else stop.check
                result, blobs = await self._collect(job, outcome, go_on)
        result.execution_metadata.CopyFrom(metadata)
        return await self._keep(job, result, blobs, outcome, stop)

    def _stamp(self, field: Timestamp) -> None:
        field.CopyFrom(_timestamp(self._clock.now()))

    async def _collect(
        self, job: Job, outcome: ProcessResult, go_on: CancelCheck
    ) -> tuple[re_pb2.ActionResult, list[Blob]]:
        """The result, and those of its blobs that are still to be stored."""
        function = job.key.action.function
        outputs = Outputs(
            outcome.root_fd,
            job.command,
            job.output_directory,
            function,
            follow=job.follow_links,
            cancel_check=go_on,
        )
        try:
            if job.command.outputs:  # a thread for nothing would cost more than all else here
                await self._store_pieces(outputs, job.caller.run, go_on)
        except BadOutput:
            # A failed action is its own explanation.
            if outcome.exit_code == 0:
                raise
        result, blobs = outputs.result, outputs.last_batch
        result.exit_code = outcome.exit_code
        remarks = "".join(
            f"reapi-local: {remark}\n"
            for remark in (outcome.problem, *outcome.limits_exceeded)
            if remark
        )
        streams = (
            (result.stdout_digest, outcome.stdout_fd, ""),
            (result.stderr_digest, outcome.stderr_fd, remarks),
        )
        for field, fd, remark in streams:
            if os.fstat(fd).st_size + len(remark) > IN_MEMORY_BYTES:
                digest = await in_thread(digest_of_file, fd, function, go_on)
                await self._store_large(digest, fd, job.caller.run, go_on)
            else:
                data = os.pread(fd, IN_MEMORY_BYTES, 0) + remark.encode()
                digest = digest_of(data, function)
                blobs.append((digest, data))
            field.hash, field.size_bytes = digest.hash_hex, digest.size_bytes
        return result, blobs

    async def _store_pieces(self, outputs: Outputs, run: str, go_on: CancelCheck) -> None:
        with closing(iter(outputs)) as pieces:
            while (piece := await in_thread(next, pieces, None)) is not None:
                if isinstance(piece, LargeFile):
                    await self._store_large(piece.digest, piece.fd, run, go_on)
                else:
                    await self._store_small(piece, run)

    async def _store_large(self, digest: Digest, fd: int, run: str, go_on: CancelCheck) -> None:
        if not await self._blobs.find_missing([digest], run):
            return
        writer = await self._blobs.open_write(digest, run)
        try:
            offset = 0
            while chunk := await in_thread(os.pread, fd, _CHUNK_BYTES, offset):
                go_on()
                await writer.write(chunk)
                offset += len(chunk)
            await writer.commit()
        finally:
            await writer.discard()

    async def _store_small(self, blobs: list[Blob], run: str) -> None:
        for error in (await self._blobs.write_many(blobs, run)).values():
            raise error

    async def _keep(
        self,
        job: Job,
        result: re_pb2.ActionResult,
        blobs: list[Blob],
        outcome: ProcessResult,
        stop: Stop,
    ) -> re_pb2.ExecuteResponse:
        self._stamp(result.execution_metadata.output_upload_completed_timestamp)
        self._stamp(result.execution_metadata.worker_completed_timestamp)
        response = re_pb2.ExecuteResponse(result=result, message="; ".join(outcome.limits_exceeded))
        if outcome.stopped and stop.error is not None:
            response.status.CopyFrom(
                status_pb2.Status(code=int(stop.error.code), message=str(stop.error))
            )
        store = [self._store_small(blobs, job.caller.run)]
        if _is_worth_keeping(outcome) and not job.action.do_not_cache:
            stored = StoredResult(
                result=result.SerializeToString(deterministic=True),
                written_at=self._clock.now(),
                written_by=job.caller.holder,
                run=job.caller.run,
            )
            # At once, so that one commit takes both; an entry without its blobs would be a miss.
            store.append(self._results.put(job.key, stored))
        await asyncio.gather(*store)
        return response


def _is_worth_keeping(outcome: ProcessResult) -> bool:
    """One that ran into a limit and still succeeded may do so without a part of its output."""
    return outcome.exit_code == 0 and not outcome.stopped and not outcome.limits_exceeded


def _describe(metadata: re_pb2.ExecutedActionMetadata, outcome: ProcessResult) -> None:
    """Times of the process, and what it used."""
    for field, time_ns in (
        (metadata.execution_start_timestamp, outcome.started_ns),
        (metadata.execution_completed_timestamp, outcome.ended_ns),
    ):
        field.seconds, field.nanos = divmod(time_ns, _NANOS)
    seconds, nanos = divmod(outcome.ended_ns - outcome.started_ns, _NANOS)
    metadata.virtual_execution_duration.seconds = seconds
    metadata.virtual_execution_duration.nanos = nanos
    usage = struct_pb2.Struct()
    usage.update(
        {
            "user_seconds": outcome.user_seconds,
            "system_seconds": outcome.system_seconds,
            "max_rss_bytes": outcome.max_rss_bytes,
        }
    )
    metadata.auxiliary_metadata.add().Pack(usage)


def _timestamp(seconds: float) -> Timestamp:
    whole = int(seconds)
    return Timestamp(seconds=whole, nanos=int((seconds - whole) * 1e9))
