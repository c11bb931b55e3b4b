"""A server: its parts are assembled, started and stopped in order."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from reapi_contract import admin_api, challenge, ready_line
from reapi_contract.admin_api import Health
from reapi_contract.bounds import DEFAULT_PORT
from reapi_contract.data_dir import STATE_FILE
from reapi_contract.proof import Proof
from reapi_contract.state import State, write_state
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
from reapi_local.compose.held_ports import HeldPorts
from reapi_local.compose.journal import make_explanations, make_records
from reapi_local.compose.notes import notes_of, warnings_at_start
from reapi_local.compose.places import places_of
from reapi_local.compose.ports import PortTaken, listen
from reapi_local.compose.reservation import reserve
from reapi_local.compose.services import make_services
from reapi_local.compose.socket_directory import open_sockets
from reapi_local.compose.state_file import remembered
from reapi_local.compose.storage import open_storage
from reapi_local.compose.tokens import Tokens
from reapi_local.compose.transport import choose_transport
from reapi_local.config.schema import Config, Transport
from reapi_local.errors import InvalidRequest
from reapi_local.events import EventStream
from reapi_local.execute.sandbox.host.places import CannotShow
from reapi_local.inspect.inspector import Inspector
from reapi_local.observe.event_log import EventLog
from reapi_local.observe.idleness import Idleness
from reapi_local.observe.metrics import Metrics
from reapi_local.probe.round_trips import Client, RoundTrips
from reapi_local.rpc.byte_stream_service import ByteStreamService
from reapi_local.rpc.grpc_server import GrpcServer, is_native
from reapi_local.rpc.in_flight import InFlight
from reapi_local.rpc.interceptor import Interceptor
from reapi_local.threads import in_thread

_log = logging.getLogger(__name__)
_GRACE_SECONDS: Final = 10.0
_ADMIN: Final = "127.0.0.1"


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
        self._places = places_of(config)
        self._sockets = open_sockets(config.data_dir)
        self._storage = open_storage(config, clock, self._events)
        self._observe()
        self._ports: asyncio.Future[tuple[int, ...]] = asyncio.get_running_loop().create_future()
        self._executor = make_executor(
            config, self._storage, self._places, clock, self._events, self._ports
        )
        self._in_flight = InFlight(config.listen.in_flight)
        self._byte_stream = ByteStreamService(
            self._storage.client_blobs, clock, config.listen.in_flight
        )
        self._held_ports = HeldPorts(config.data_dir)

    def _observe(self) -> None:
        """Subscribe to events. To add another subscriber, add it here."""
        self.records = make_records(
            self._config, self._storage.blobs, self._clock, self._instances.label
        )
        self.explanations = make_explanations(self.records, self._storage, self._clock)
        self._metrics = Metrics(
            self._storage.blobs.describe, self._instances.label, lambda: self.records.dropped
        )
        self._idleness = Idleness(self._clock)
        for subscriber in (self._metrics, self.records, self._idleness, EventLog()):
            subscriber.subscribe_to(self._events)

    async def start(self) -> None:
        """Begin to listen, then write the state file.

        Raises:
            CannotStart: the configured port is taken; or ``execution`` is "on", and actions can't
                be executed.
        """
        config, known = self._config, self._remembered
        self.records.start()
        self._encryption = encryption_of(config, self._clock)
        transport = choose_transport(config, self._sockets)
        self._tokens = Tokens(known.token, are_fixed=is_native(transport))
        owner = {self._tokens.current: OWNER}
        self._access = (
            AccessControl(owner, self._instances, without_token(config)),
            # Without the token nobody administers, and no page in a browser reads anything.
            AccessControl(owner, self._instances),
        )
        self.grpc_port = self._listen_for_calls(transport)
        listening = self._held_ports.listen(
            _ADMIN, _ports(known.admin_port), partial(listen, _ADMIN)
        )
        self._admin = AdminListener(self, listening, self._access[1])
        self.admin_port = self._admin.port
        self._ports.set_result((self.grpc_port, self.admin_port))
        if config.execute.execution == "on":
            await self._must_execute()
        await self._grpc.start()
        await self._admin.start()
        await in_thread(self._held_ports.hold)
        self._write_state(os.getpid(), self._tokens.current)
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

    def _listen_for_calls(self, transport: Transport) -> int:
        """Listen for gRPC, on the configured port, or the last one, the usual one or any."""
        host, port = self._config.listen.host, self._config.listen.port
        wanted = (port,) if port else _ports(self._remembered.grpc_port, DEFAULT_PORT)
        try:
            return self._held_ports.listen(host, wanted, partial(self._listen, transport))
        except PortTaken as error:
            if not port:
                raise
            reserve(host, 0, ()).close()  # else it is the address that can't be used
            raise CannotStart(
                ready_line.PORT_IN_USE,
                f"port {port} on {host} is in use by another program",
                "choose another with --port, or leave it out to have a free one found",
            ) from error

    def _listen(self, transport: Transport, port: int, reuse_port: bool) -> int:
        interceptor = Interceptor(self._access[0], self._events, self._clock, self._in_flight)
        credentials = self._encryption.server_credentials() if self._encryption else None
        server = GrpcServer(
            interceptor,
            make_services(
                self._storage, self._executor, self._byte_stream, self._in_flight, self._clock
            ),
            transport,
            self._sockets.path,
            self._tokens.accepted(),
            reuse_port=reuse_port,
        )
        port = server.bind(f"{bracketed(self._config.listen.host)}:{port}", credentials)
        self._grpc = server
        return port

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
        await self.records.close()
        await self._storage.close()
        await in_thread(self._held_ports.release)
        self._write_state(None, self._tokens.current)

    async def abandon(self) -> None:
        """Close what a failed start has opened."""
        await self._executor.close()
        await self.records.close()
        await self._storage.close()
        await in_thread(self._held_ports.abandon)
        self._sockets.close()

    def request_stop(self) -> None:
        """Let :meth:`until_stopped` return."""
        self._stop.set()

    def rotate_token(self) -> None:
        """Make a new token and refuse the old one; calls in flight go on.

        The old token stays if an exception is raised.

        Raises:
            OSError: the state file can't be written.
            NoSpareToken: the server can take no other token until it is restarted.
        """
        old = self._tokens.current
        self._tokens.replace(lambda new: self._write_state(os.getpid(), new))
        for access in self._access:
            access.replace_token(old, self._tokens.current)

    async def show(self, repository: str, tools: tuple[str, ...]) -> None:
        """Let actions see the repository in which a command of a client begins.

        Raises InvalidRequest if it can't be shown.
        """
        try:
            await in_thread(self._places.add, repository, tools)
        except CannotShow as error:
            raise InvalidRequest(f"actions can't see this repository: {error}") from error

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
        subject = challenge.Subject(
            self._tokens.current, self._boot_id, self.grpc_port, self.admin_port
        )
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

    def inspector(self) -> Inspector:
        """What shows objects of the store to people."""
        storage, masks = self._storage, self.records.masks
        return Inspector(storage.blobs, storage.kept_results, OWNER, masks)

    async def check(self, instance: str) -> list[Proof]:
        """Prove with calls over a separate connection that the server works."""
        listen, encryption = self._config.listen, self._encryption
        address = f"{bracketed(reachable(listen.host))}:{self.grpc_port}"
        token = self._tokens.current
        client = Client(address, token)
        if encryption is not None:
            called = host_for_clients(listen.host, encryption.names)
            tls = encryption.channel_credentials()
            client = Client(address, token, tls, called)
        sandbox = (await self._executor.describe()).sandbox
        is_needed = without_token(self._config) is None
        proofs = await RoundTrips(
            client, instance, is_own=True, sandbox=sandbox, token_is_needed=is_needed
        ).run()
        return with_disk(proofs, self._storage.blobs.describe(), self._config.data_dir)

    def _write_state(self, pid: int | None, token: str) -> None:
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
                token=token,
                data_dir=self._config.data_dir,
                max_size_bytes=self._config.store.max_size,
                named_caches_bytes=self._config.execute.named_caches,
                idle_exit_s=self._config.listen.idle_exit,
                instances=tuple(self._config.access.instances),
                ca_certs_path=self._config.listen.tls_cert,
                needs_client_certificate=bool(self._config.listen.tls_client_ca),
            ),
        )


def _ports(*wanted: int) -> tuple[int, ...]:
    """Those ports that are known, and then any."""
    return (*filter(None, wanted), 0)


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
