"""A server: its parts are assembled, started and stopped in order."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from reapi_contract import admin_api, challenge, ready_line
from reapi_contract.admin_api import Health, RunSummary
from reapi_contract.bounds import DEFAULT_PORT
from reapi_contract.data_dir import STATE_FILE
from reapi_contract.proof import Proof
from reapi_contract.state import State, new_token, write_state
from reapi_contract.status import Status
from reapi_local.access.access_control import AccessControl
from reapi_local.access.instances import Instances
from reapi_local.access.principal import OWNER
from reapi_local.admin.listener import AdminListener
from reapi_local.clock import Clock, SystemClock, set_within
from reapi_local.compose.access import encryption_of, without_token
from reapi_local.compose.addresses import bracketed, host_for_clients, reachable
from reapi_local.compose.cannot_start import CannotStart
from reapi_local.compose.data_dir import owned, unusable
from reapi_local.compose.disk_space import disk_note, with_disk
from reapi_local.compose.execution import make_executor
from reapi_local.compose.guards.descriptors import DescriptorGuard
from reapi_local.compose.guards.memory import MemoryGuard
from reapi_local.compose.notes import notes_of, warnings_at_start
from reapi_local.compose.ports import bind_first, free_port
from reapi_local.compose.socket_directory import open_sockets
from reapi_local.compose.state_file import remembered
from reapi_local.compose.storage import open_storage
from reapi_local.config.loopback import is_loopback
from reapi_local.config.schema import Config, Transport
from reapi_local.events import EventStream
from reapi_local.observe.event_log import EventLog
from reapi_local.observe.idleness import Idleness
from reapi_local.observe.metrics import Metrics
from reapi_local.observe.recent_runs import RecentRuns
from reapi_local.probe.round_trips import Client, RoundTrips
from reapi_local.rpc.action_cache_service import ActionCacheService
from reapi_local.rpc.byte_stream_service import ByteStreamService
from reapi_local.rpc.capabilities_service import CapabilitiesService
from reapi_local.rpc.cas_service import CasService
from reapi_local.rpc.execution_service import ExecutionService
from reapi_local.rpc.grpc_server import GrpcServer
from reapi_local.rpc.in_flight import InFlight
from reapi_local.rpc.interceptor import Interceptor
from reapi_local.rpc.operations_service import OperationsService

_log = logging.getLogger(__name__)
_GRACE_SECONDS: Final = 10.0


class App:
    """A running server. Make one with :func:`running`."""

    def __init__(self, config: Config, version: str, clock: Clock) -> None:
        self._config, self._version, self._clock = config, version, clock
        self._state_path = os.path.join(config.data_dir, STATE_FILE)
        self._remembered = remembered(self._state_path)
        self._stop = asyncio.Event()
        self._boot_id = secrets.token_hex(16)
        self._started_at = clock.now()
        self._events = EventStream()
        self._instances = Instances(config.access.instances)
        self._token = self._remembered.token
        self._sockets = open_sockets(config.data_dir)
        self._storage = open_storage(config, clock, self._events)
        self._observe()
        self._ports: asyncio.Future[tuple[int, ...]] = asyncio.get_running_loop().create_future()
        self._executor = make_executor(config, self._storage, clock, self._events, self._ports)
        self._in_flight = InFlight(config.listen.in_flight)
        self._byte_stream = ByteStreamService(
            self._storage.client_blobs, clock, config.listen.in_flight
        )

    def _observe(self) -> None:
        """Subscribe to events. To add another subscriber, add it here."""
        self._metrics = Metrics(self._storage.blobs.describe, self._instances.label)
        self._runs = RecentRuns(self._clock)
        self._idleness = Idleness(self._clock)
        for subscriber in (self._metrics, self._runs, self._idleness, EventLog()):
            subscriber.subscribe_to(self._events)

    async def start(self) -> None:
        """Begin to listen, then write the state file.

        Raises:
            CannotStart: the configured port is taken; or ``execution`` is "on", and actions can't
                be executed.
        """
        config, known = self._config, self._remembered
        wanted = (config.listen.port,) if config.listen.port else (known.grpc_port, DEFAULT_PORT)
        port = free_port(config.listen.host, wanted)
        if config.listen.port and port != config.listen.port:
            raise CannotStart(
                ready_line.PORT_IN_USE,
                f"port {config.listen.port} on {config.listen.host} is in use by another program",
                "choose another with --port, or leave it out to have a free one found",
            )
        self._encryption = encryption_of(config, self._clock)
        owner = {self._token: OWNER}
        self._access = (
            AccessControl(owner, self._instances, without_token(config)),
            # Without the token nobody administers, and no page in a browser reads anything.
            AccessControl(owner, self._instances),
        )
        interceptor = Interceptor(self._access[0], self._events, self._clock, self._in_flight)
        self._grpc = GrpcServer(
            interceptor,
            self._services(),
            self._transport(),
            self._sockets.path,
            self._in_flight.largest_bytes,
        )
        self.grpc_port = self._bind(port)
        bound = bind_first("127.0.0.1", (known.admin_port,))
        self._admin = AdminListener(self, bound, self._access[1])
        self.admin_port = self._admin.port
        self._ports.set_result((self.grpc_port, self.admin_port))
        if config.execute.execution == "on":
            await self._must_execute()
        await self._grpc.start()
        await self._admin.start()
        self._write_state(os.getpid())
        ports = (self.grpc_port, self.admin_port)
        self._guards = DescriptorGuard(ports, self._clock), MemoryGuard(self._in_flight, ports)
        for guard in self._guards:
            guard.start()

    async def _must_execute(self) -> None:
        status = await self._executor.describe()
        if not status.offered:
            why = " ".join(status.reasons)
            raise CannotStart(
                ready_line.NO_SANDBOX,
                f"actions can't be executed here: {why}",
                "remove the cause, or leave the setting `execution` out",
            )

    def _bind(self, port: int) -> int:
        host = bracketed(self._config.listen.host)
        credentials = self._encryption.server_credentials() if self._encryption else None
        try:
            return self._grpc.bind(f"{host}:{port}", credentials)
        except RuntimeError:
            if self._config.listen.port:
                raise
            # Another server that is starting, too, has found the same port and bound it first.
            return self._grpc.bind(f"{host}:0", credentials)

    def _transport(self) -> Transport:
        """The transport to use.

        pygrpc-native has no TLS. It buffers a whole message before authentication, so it is used
        only on loopback, unless it is named. It also needs a unix socket.
        """
        listen = self._config.listen
        if listen.transport != "auto":
            return listen.transport
        if listen.tls_cert or not is_loopback(listen.host):
            return "grpcio"
        if why := self._sockets.why_unusable():
            _log.warning("using the transport grpcio, because native needs a unix socket: %s", why)
            return "grpcio"
        return "auto"

    def _services(self) -> dict[str, object]:
        storage, executor = self._storage, self._executor
        return {
            "ActionCache": ActionCacheService(storage.client_results, storage.blobs, self._clock),
            "ByteStream": self._byte_stream,
            "Capabilities": CapabilitiesService(executor),
            "ContentAddressableStorage": CasService(storage.client_blobs, self._in_flight),
            "Execution": ExecutionService(executor),
            "Operations": OperationsService(executor),
        }

    async def until_stopped(self) -> None:
        """Wait for :meth:`request_stop`, or until the server was idle for the configured time."""
        if not self._config.listen.idle_exit:
            await self._stop.wait()
            return
        while not self._stop.is_set():
            rest = self._config.listen.idle_exit - self._idleness.seconds
            if rest <= 0:
                _log.info("no call for %g seconds: stopping", self._config.listen.idle_exit)
                return
            await set_within(self._stop, rest, self._clock)

    async def stop(self) -> None:
        """Finish calls in flight, refuse new ones, close the store, and write the state file."""
        self._stop.set()
        self._executor.drain()
        await self._grpc.stop(_GRACE_SECONDS)
        self._sockets.close()
        await self._executor.close()
        for guard in self._guards:
            await guard.stop()
        await self._admin.stop()
        await self._byte_stream.close()
        await self._storage.close()
        self._write_state(None)

    async def abandon(self) -> None:
        """Close what a failed start has opened."""
        await self._executor.close()
        await self._storage.close()
        self._sockets.close()

    def request_stop(self) -> None:
        """Let :meth:`until_stopped` return."""
        self._stop.set()

    def rotate_token(self) -> None:
        """Make a new token and refuse the old one; calls in flight go on.

        Raises OSError if the state file can't be written; then the old token stays.
        """
        old, self._token = self._token, new_token()
        try:
            self._write_state(os.getpid())
        except OSError:
            self._token = old
            raise
        for access in self._access:
            access.replace_token(old, self._token)

    def health(self) -> Health:
        """What a launcher reads to find out whether this is the right server."""
        return Health(
            status=admin_api.STOPPING if self._stop.is_set() else admin_api.SERVING,
            pid=os.getpid(),
            boot_id=self._boot_id,
            version=self._version,
            started_at=self._started_at,
            grpc_address=f"{'grpcs' if self._encryption else 'grpc'}://{self._called()}",
            data_dir=self._config.data_dir,
        )

    def answer_challenge(self, nonce: str) -> challenge.Answer:
        """Prove to a client that has the token that this is the server that it means."""
        health = self.health()
        subject = challenge.Subject(self._token, self._boot_id, self.grpc_port, self.admin_port)
        return challenge.answer(subject, nonce, health.status, health.grpc_address)

    def _called(self) -> str:
        """Host and port as clients on this machine name them."""
        names = self._encryption.names if self._encryption else ()
        host = host_for_clients(self._config.listen.host, names)
        return f"{bracketed(host)}:{self.grpc_port}"

    def warnings(self) -> tuple[str, ...]:
        """What somebody who starts the server should know, in sentences."""
        return (*warnings_at_start(self._config), *self._tls_warnings())

    def _tls_warnings(self) -> tuple[str, ...]:
        return self._encryption.warnings() if self._encryption else ()

    async def status(self) -> Status:
        """Health, the size of the store, counters of calls, and how actions are executed."""
        return Status(
            health=self.health(),
            store=self._storage.blobs.describe(),
            execution=await self._executor.describe(),
            instances=tuple(self._instances.names()),
            calls=self._metrics.calls(),
            action_cache=self._metrics.caches(),
            executions=self._metrics.executions(),
            notes=(*notes_of(self._config), *self._tls_warnings(), *self._disk_notes()),
        )

    def _disk_notes(self) -> list[str]:
        note = disk_note(self._storage.blobs.describe(), self._config.data_dir)
        return [note] if note else []

    def metrics(self) -> bytes:
        """All counters in Prometheus' text format."""
        return self._metrics.exposition()

    def runs(self, instance: str | None, limit: int) -> list[RunSummary]:
        """The latest invocations, newest first."""
        return self._runs.newest(instance, limit)

    async def check(self, instance: str) -> list[Proof]:
        """Prove with calls over a separate connection that the server works."""
        listen, encryption = self._config.listen, self._encryption
        address = f"{bracketed(reachable(listen.host))}:{self.grpc_port}"
        client = Client(address, self._token)
        if encryption is not None:
            called = host_for_clients(listen.host, encryption.names)
            tls = encryption.channel_credentials()
            client = Client(address, self._token, tls, called)
        sandbox = (await self._executor.describe()).sandbox
        is_needed = without_token(self._config) is None
        proofs = await RoundTrips(
            client, instance, is_own=True, sandbox=sandbox, token_is_needed=is_needed
        ).run()
        return with_disk(proofs, self._storage.blobs.describe(), self._config.data_dir)

    def _write_state(self, pid: int | None) -> None:
        write_state(
            self._state_path,
            State(
                pid=pid,
                boot_id=self._boot_id,
                started_at=self._started_at,
                version=self._version,
                host=self._config.listen.host,
                grpc_port=self.grpc_port,
                admin_port=self.admin_port,
                token=self._token,
                data_dir=self._config.data_dir,
                max_size_bytes=self._config.store.max_size,
                named_caches_bytes=self._config.execute.named_caches,
                idle_exit_s=self._config.listen.idle_exit,
                instances=tuple(self._config.access.instances),
                ca_certs_path=self._config.listen.tls_cert,
                needs_client_certificate=bool(self._config.listen.tls_client_ca),
            ),
        )


@asynccontextmanager
async def running(config: Config, version: str, clock: Clock | None = None) -> AsyncIterator[App]:
    """A server that serves within the ``async with`` block and is stopped after it.

    Raises:
        CannotStart: the data directory or the port can't be used.
    """
    with owned(config.data_dir):
        app = await _started(config, version, clock or SystemClock())
        try:
            yield app
        finally:
            await app.stop()


async def _started(config: Config, version: str, clock: Clock) -> App:
    """Start a server. Turns any failure into CannotStart, so that a launcher can report it."""
    app = App(config, version, clock)
    try:
        await app.start()
    except Exception as error:
        await app.abandon()
        if isinstance(error, CannotStart):
            raise
        if isinstance(error, OSError):  # of files: those of sockets have another class
            raise unusable(config.data_dir, error) from error
        raise CannotStart(
            ready_line.FAILED,
            f"the server can't listen on {config.listen.host}: {error}",
            "choose an address of this machine with --host, and try again",
        ) from error
    return app
