"""The one place that names concrete classes, stacks them, and starts and stops them in order."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import IO, Any, Final

from reapi_local.access.instances import Instances
from reapi_local.admin.listener import AdminListener
from reapi_local.clock import Clock, SystemClock
from reapi_local.compose.execution import Execution
from reapi_local.compose.ports import bind_first, free_port, is_loopback
from reapi_local.compose.state_file import FORMAT, State, remembered, write_state
from reapi_local.config.schema import Config, Transport
from reapi_local.observe.tally import Tally
from reapi_local.probe.round_trips import Checker, Client
from reapi_local.rpc.action_cache_service import ActionCacheService
from reapi_local.rpc.byte_stream_service import ByteStreamService
from reapi_local.rpc.capabilities_service import CapabilitiesService
from reapi_local.rpc.cas_service import CasService
from reapi_local.rpc.execution_service import ExecutionService
from reapi_local.rpc.interceptor import Interceptor
from reapi_local.rpc.operations_service import OperationsService
from reapi_local.rpc.server import GrpcServer
from reapi_local.store.completeness import CompleteResults
from reapi_local.store.local.generation_results import GenerationResults
from reapi_local.store.local.generation_store import GenerationStore
from reapi_local.store.local.rotation import StoreLimits

_log = logging.getLogger(__name__)
_DEFAULT_PORT: Final = 8980
_GRACE_SECONDS: Final = 10.0
_ADMIN_API: Final = 1


class CannotStart(Exception):
    """The server can't start; ``code`` is for programs, the message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class App:
    """A running server. Make one with :func:`running`."""

    def __init__(self, config: Config, version: str, clock: Clock) -> None:
        self._config, self._version, self._clock = config, version, clock
        self._state_path = os.path.join(config.data_dir, "server.json")
        self._remembered = remembered(self._state_path)
        self._stop = asyncio.Event()
        self._boot_id = secrets.token_hex(16)
        self._started_at = clock.now()
        self._tally = Tally(clock)
        self._instances = Instances(config.access.instances)
        limits = StoreLimits(
            config.store.max_size, config.store.min_free, config.store.lease or 1e-9
        )
        self._blobs = GenerationStore(
            os.path.join(config.data_dir, "store"),
            limits,
            clock,
            durable=config.store.sync == "full",
        )
        self._results = CompleteResults(GenerationResults(self._blobs), self._blobs)
        self._execution = Execution(config, self._blobs, self._results, clock, self._tally)
        self._byte_stream = ByteStreamService(self._blobs, self._instances)
        self._max_bytes = limits.max_bytes

    async def start(self) -> None:
        """Begin to listen, then say so in the state file.

        Raises:
            CannotStart: the port asked for is taken, or no sandbox works and one has to.
        """
        config, known = self._config, self._remembered
        self._execution.begin()
        if config.execute.execution == "on":
            await self._must_execute()
        wanted = (config.listen.port,) if config.listen.port else (known.grpc_port, _DEFAULT_PORT)
        port = free_port(config.listen.host, wanted)
        if config.listen.port and port != config.listen.port:
            raise CannotStart(
                "port-in-use",
                f"port {config.listen.port} on {config.listen.host} is in use by another program; "
                "choose another with --port, or leave it out to have a free one found",
            )
        interceptor = Interceptor({known.token: "owner"}, self._tally)
        self._grpc = GrpcServer(interceptor, self._services(), self._transport())
        self.grpc_port = self._bind(port)
        await self._grpc.start()
        self._admin = AdminListener(self, bind_first("127.0.0.1", (known.admin_port,)), known.token)
        await self._admin.start()
        self.admin_port = self._admin.port
        self._write_state(os.getpid())

    async def _must_execute(self) -> None:
        if not await self._execution.is_made():
            why = " ".join((await self._execution.describe())["reasons"])
            raise CannotStart("no-sandbox", f"actions can't be executed here: {why}")

    def _bind(self, port: int) -> int:
        host = _bracketed(self._config.listen.host)
        try:
            return self._grpc.bind(f"{host}:{port}")
        except RuntimeError:
            if self._config.listen.port:
                raise
            # Another server that began just now was faster: two of them look for the same port.
            return self._grpc.bind(f"{host}:0")

    def _transport(self) -> Transport:
        """The native one reads a message whole before it looks at the token: not for strangers."""
        if self._config.listen.transport == "auto" and not is_loopback(self._config.listen.host):
            return "grpcio"
        return self._config.listen.transport

    def _services(self) -> dict[str, object]:
        instances, execution = self._instances, self._execution
        return {
            "ActionCache": ActionCacheService(self._results, instances, self._tally, self._clock),
            "ByteStream": self._byte_stream,
            "Capabilities": CapabilitiesService(instances, execution),
            "ContentAddressableStorage": CasService(self._blobs, instances),
            "Execution": ExecutionService(execution, instances),
            "Operations": OperationsService(execution, instances),
        }

    async def until_stopped(self) -> None:
        """Wait for :meth:`request_stop`, or for the idle time to pass."""
        if not self._config.listen.idle_exit:
            await self._stop.wait()
            return
        while not self._stop.is_set():
            rest = self._config.listen.idle_exit - self._tally.idle_seconds
            if rest <= 0:
                _log.info("no call for %g seconds: stopping", self._config.listen.idle_exit)
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), rest)

    async def stop(self) -> None:
        """Finish calls in flight, refuse new ones, close the store, and say so."""
        self._stop.set()
        self._execution.drain()
        await self._grpc.stop(_GRACE_SECONDS)
        await self._execution.close()
        await self._admin.stop()
        await self._byte_stream.close()
        await self._blobs.close()
        self._write_state(None)

    async def abandon(self) -> None:
        """Close what a start that failed has opened."""
        await self._execution.close()
        await self._blobs.close()

    def request_stop(self) -> None:
        """Let :meth:`until_stopped` return."""
        self._stop.set()

    def health(self) -> dict[str, Any]:
        """What a launcher asks to learn whether this is the server it means."""
        host = _bracketed(_reachable(self._config.listen.host))
        return {
            "api": _ADMIN_API,
            "status": "stopping" if self._stop.is_set() else "serving",
            "pid": os.getpid(),
            "boot_id": self._boot_id,
            "version": self._version,
            "started_at": self._started_at,
            "grpc_address": f"grpc://{host}:{self.grpc_port}",
            "data_dir": self._config.data_dir,
        }

    async def status(self) -> dict[str, Any]:
        """Health, how much is stored and was asked, and how actions are executed."""
        space = self._blobs.capacity
        return self.health() | {
            "store": {
                "max_bytes": self._max_bytes,
                "disk_bytes": space.used_bytes,
                "free_disk_bytes": space.free_bytes,
                "generations": len(self._blobs.generations.newest_first),
            },
            "execution": await self._execution.describe(),
            "instances": self._instances.names(),
            "calls": {method: asdict(count) for method, count in self._tally.calls.items()},
            "action_cache": {name: asdict(count) for name, count in self._tally.caches.items()},
            "executions": {name: asdict(n) for name, n in self._tally.executions.items()},
        }

    def runs(self, instance: str | None, limit: int) -> list[dict[str, Any]]:
        """The latest runs, newest first."""
        return self._tally.runs(instance, limit)

    async def check(self, instance: str) -> list[dict[str, Any]]:
        """Round trips over a connection of its own."""
        address = f"{_bracketed(_reachable(self._config.listen.host))}:{self.grpc_port}"
        sandbox = (await self._execution.describe())["sandbox"]
        proofs = await Checker(Client(address, self._remembered.token), instance, sandbox).run()
        return [asdict(proof) for proof in proofs]

    def _write_state(self, pid: int | None) -> None:
        write_state(
            self._state_path,
            State(
                format=FORMAT,
                pid=pid,
                boot_id=self._boot_id,
                started_at=self._started_at,
                version=self._version,
                host=self._config.listen.host,
                grpc_port=self.grpc_port,
                admin_port=self.admin_port,
                token=self._remembered.token,
                data_dir=self._config.data_dir,
                max_size_bytes=self._max_bytes,
            ),
        )


@asynccontextmanager
async def running(config: Config, version: str, clock: Clock | None = None) -> AsyncIterator[App]:
    """A server that serves within the ``async with`` block and is stopped after it.

    Raises:
        CannotStart: the data directory or the port can't be had.
    """
    with _owned(config.data_dir):
        app = await _started(config, version, clock or SystemClock())
        try:
            yield app
        finally:
            await app.stop()


async def _started(config: Config, version: str, clock: Clock) -> App:
    """Whatever goes wrong, whoever started the server is told."""
    try:
        app = App(config, version, clock)
    except Exception as error:
        raise CannotStart(
            "data-dir-unusable",
            f"the store in {config.data_dir} can't be opened: {error}; choose another place with "
            "--data-dir, or delete the folder `store` in it, which costs what is cached",
        ) from error
    try:
        await app.start()
    except CannotStart:
        await app.abandon()
        raise
    except Exception as error:
        await app.abandon()
        raise CannotStart(
            "failed",
            f"the server can't listen on {config.listen.host}: {error}; choose an address of this "
            "machine with --host, and try again",
        ) from error
    return app


@contextlib.contextmanager
def _owned(data_dir: str) -> Iterator[None]:
    """Hold the data directory: one server at a time."""
    lock: IO[str]
    try:
        os.makedirs(data_dir, mode=0o700, exist_ok=True)
        lock = open(os.path.join(data_dir, "server.lock"), "a")  # noqa: SIM115 - closed below
    except (OSError, ValueError) as error:
        raise CannotStart(
            "data-dir-unusable",
            f"the data directory {data_dir} can't be used: {error}; choose another with --data-dir",
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CannotStart(
                "data-dir-in-use",
                f"another server runs on {data_dir}; use that one, stop it with "
                "`reapi-local down`, or choose another --data-dir",
            ) from None
        yield


def _reachable(host: str) -> str:
    """An address to call where the server listens on all."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
