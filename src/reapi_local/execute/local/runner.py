"""Running one job: inputs, sandbox, outputs, store, action cache."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import closing
from typing import Final

from google.protobuf import struct_pb2
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import status_pb2

from reapi_local.clock import Clock
from reapi_local.context import Context
from reapi_local.errors import BadOutput, ReapiError
from reapi_local.execute.job import Job
from reapi_local.execute.local.inputs.input_roots import InputRoots
from reapi_local.execute.local.outputs import (
    IN_MEMORY_BYTES,
    CancelCheck,
    LargeFile,
    Outputs,
    digest_of_file,
    never_cancelled,
)
from reapi_local.execute.local.process_environment import ProcessEnvironment
from reapi_local.execute.sandbox.interface import ProcessResult, ProcessSpec, Sandbox
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.digest import Digest, digest_of
from reapi_local.protocol.lookup import StoredResult
from reapi_local.store.action_cache import ActionCache
from reapi_local.store.blob_store import Blob, BlobStore
from reapi_local.threads import in_thread

_CHUNK_BYTES: Final = 1024 * 1024
_MAX_ON_LOOP_BYTES: Final = 64 * 1024
_NANOS: Final = 1_000_000_000


class StopRequest:
    """Asks a running job to end. ``error`` is what its client is told then."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.error: ReapiError | None = None

    def request(self, error: ReapiError) -> None:
        """Ask the job to end. Only the error of the first request is kept."""
        if self.error is None:
            self.error = error
            self.event.set()

    def raise_if_requested(self) -> None:
        """Raise ``error`` if the job was asked to end."""
        if self.error is not None:
            raise self.error


class Runner:
    """Runs jobs in a sandbox. Their outputs are in ``blobs`` before a response names them."""

    def __init__(
        self,
        sandbox: Sandbox,
        environment: ProcessEnvironment,
        input_roots: InputRoots,
        blobs: BlobStore,
        results: ActionCache,
        clock: Clock,
    ) -> None:
        self._sandbox, self._environment = sandbox, environment
        self._input_roots = input_roots
        self._blobs, self._results, self._clock = blobs, results, clock
        self._worker = socket.gethostname()

    async def run(
        self,
        job: Job,
        stop: StopRequest,
        process_started: Callable[[], None],
        process_ended: Callable[[], None],
    ) -> re_pb2.ExecuteResponse:
        """Run the job to its end, and put its result into the action cache if it may be cached.

        ``process_started`` is called when the inputs are there and the process is about to start;
        ``process_ended`` when it has ended, before its outputs are stored.

        Raises:
            MissingInputs: blobs of the input root aren't in the store.
            ReapiError: there is no result for another reason.
            SandboxError: the sandbox failed.
        """
        metadata = re_pb2.ExecutedActionMetadata(worker=self._worker)
        metadata.queued_timestamp.CopyFrom(_timestamp(job.queued_at))
        self._stamp(metadata.worker_start_timestamp)
        self._stamp(metadata.input_fetch_start_timestamp)
        async with self._input_roots.hold(job.context, job.action.input_root) as layers:
            self._stamp(metadata.input_fetch_completed_timestamp)
            with self._environment.caches(job) as caches:
                spec = await self._bind(job, layers, caches)
                process_started()
                async with self._sandbox.run(spec, stop.event) as process:
                    process_ended()
                    _describe(metadata, process)
                    self._stamp(metadata.output_upload_start_timestamp)
                    # Outputs of a stopped process are collected, too: they may show why it hung.
                    cancel_check = never_cancelled if process.stopped else stop.raise_if_requested
                    result, blobs = await self._collect(job, process, cancel_check)
        result.execution_metadata.CopyFrom(metadata)
        return await self._keep(job, result, blobs, process, stop)

    async def _bind(self, job: Job, layers: tuple[str, ...], caches: str | None) -> ProcessSpec:
        root = self._sandbox.root
        if job.size_bytes > _MAX_ON_LOOP_BYTES:
            return await in_thread(self._environment.bind, job, root, layers, caches)
        return self._environment.bind(job, root, layers, caches)

    def _stamp(self, field: Timestamp) -> None:
        field.CopyFrom(_timestamp(self._clock.now()))

    async def _collect(
        self, job: Job, process: ProcessResult, cancel_check: CancelCheck
    ) -> tuple[re_pb2.ActionResult, list[Blob]]:
        """The result, and the blobs of it that are not stored yet."""
        function = job.digest.function
        outputs = Outputs(
            process.root_fd,
            job.command,
            function,
            follow=job.profile.follows_links,
            cancel_check=cancel_check,
        )
        try:
            if job.command.outputs:  # a thread that does nothing costs more than the rest of this
                await self._store_pieces(job.context, outputs, cancel_check)
        except BadOutput:
            # If the action failed, its exit code explains missing outputs.
            if process.exit_code == 0:
                raise
        result, blobs = outputs.result, outputs.last_batch
        result.exit_code = process.exit_code
        remarks = "".join(
            f"reapi-local: {remark}\n"
            for remark in (process.problem, process.not_shown, *process.limits_exceeded)
            if remark
        )
        streams = (
            (result.stdout_digest, process.stdout_fd, ""),
            (result.stderr_digest, process.stderr_fd, remarks),
        )
        for field, fd, remark in streams:
            if os.fstat(fd).st_size + len(remark) > IN_MEMORY_BYTES:
                digest = await in_thread(digest_of_file, fd, function, cancel_check)
                await self._store_large(job.context, digest, fd, cancel_check)
            else:
                data = os.pread(fd, IN_MEMORY_BYTES, 0) + remark.encode()
                digest = digest_of(data, function)
                blobs.append((digest, data))
            field.hash, field.size_bytes = digest.hash_hex, digest.size_bytes
        return result, blobs

    async def _store_pieces(
        self, context: Context, outputs: Outputs, cancel_check: CancelCheck
    ) -> None:
        with closing(iter(outputs)) as pieces:
            while (piece := await in_thread(next, pieces, None)) is not None:
                if isinstance(piece, LargeFile):
                    await self._store_large(context, piece.digest, piece.fd, cancel_check)
                else:
                    await self._store_small(context, piece)

    async def _store_large(
        self, context: Context, digest: Digest, fd: int, cancel_check: CancelCheck
    ) -> None:
        if not await self._blobs.find_missing(context, [digest]):
            return
        writer = await self._blobs.open_write(context, digest)
        try:
            offset = 0
            while chunk := await in_thread(os.pread, fd, _CHUNK_BYTES, offset):
                cancel_check()
                await writer.write(chunk)
                offset += len(chunk)
            await writer.commit()
        finally:
            await writer.discard()

    async def _store_small(self, context: Context, blobs: list[Blob]) -> None:
        for error in (await self._blobs.write_many(context, blobs)).values():
            raise error

    async def _keep(
        self,
        job: Job,
        result: re_pb2.ActionResult,
        blobs: list[Blob],
        process: ProcessResult,
        stop: StopRequest,
    ) -> re_pb2.ExecuteResponse:
        self._stamp(result.execution_metadata.output_upload_completed_timestamp)
        self._stamp(result.execution_metadata.worker_completed_timestamp)
        remarks = (process.not_shown, *process.limits_exceeded)
        response = re_pb2.ExecuteResponse(result=result, message="; ".join(filter(None, remarks)))
        if process.stopped and stop.error is not None:
            response.status.CopyFrom(
                status_pb2.Status(code=int(stop.error.code), message=str(stop.error))
            )
        store = [self._store_small(job.context, blobs)]
        if _is_worth_keeping(process) and not job.action.do_not_cache:
            stored = StoredResult(
                result=result.SerializeToString(deterministic=True),
                written_at=self._clock.now(),
                written_by=job.context.principal.name,
                invocation=job.context.invocation,
            )
            # Concurrently, so that one commit holds both. An entry without its blobs is a miss.
            store.append(self._results.put(job.context, job.digest, stored))
        await asyncio.gather(*store)
        return response


def _is_worth_keeping(process: ProcessResult) -> bool:
    """Whether to cache the result. An action that hit a limit but exited 0 may have lost output."""
    return process.exit_code == 0 and not process.stopped and not process.limits_exceeded


def _describe(metadata: re_pb2.ExecutedActionMetadata, process: ProcessResult) -> None:
    """Add the process's times and resource usage to the metadata."""
    for field, time_ns in (
        (metadata.execution_start_timestamp, process.started_ns),
        (metadata.execution_completed_timestamp, process.ended_ns),
    ):
        field.seconds, field.nanos = divmod(time_ns, _NANOS)
    seconds, nanos = divmod(process.ended_ns - process.started_ns, _NANOS)
    metadata.virtual_execution_duration.seconds = seconds
    metadata.virtual_execution_duration.nanos = nanos
    usage = struct_pb2.Struct()
    usage.update(
        {
            "user_seconds": process.user_seconds,
            "system_seconds": process.system_seconds,
            "max_rss_bytes": process.max_rss_bytes,
        }
    )
    metadata.auxiliary_metadata.add().Pack(usage)


def _timestamp(seconds: float) -> Timestamp:
    whole = int(seconds)
    return Timestamp(seconds=whole, nanos=int((seconds - whole) * 1e9))
