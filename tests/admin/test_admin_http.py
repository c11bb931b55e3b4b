"""The admin interface, over HTTP as a launcher speaks it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import json
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from patience import PATIENCE_S
from reapi_local.proto.remote_execution_pb2 import (
    ActionResult,
    GetActionResultRequest,
    RequestMetadata,
    UpdateActionResultRequest,
)
from rpc.frames import answer_to
from rpc.helpers import MIB, TRANSPORTS, Server, digest_of, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUTES = [
    ("GET", "/v1/health"),
    ("GET", "/v1/status"),
    ("GET", "/v1/runs"),
    ("GET", "/v1/savings"),
    ("GET", "/v1/reports"),
    ("POST", "/v1/reports"),
    ("GET", "/v1/runs/a-run"),
    ("GET", "/metrics"),
    ("POST", "/v1/check"),
    ("POST", "/v1/places"),
    ("POST", "/v1/token/rotate"),
    ("POST", "/v1/stop"),
]
BODIES = {
    "/v1/check": {"instance": ""},
    "/v1/places": {"repository": "/usr", "tools": []},
    "/v1/reports": {"run": {"run": "a-run"}},
}
PROOFS = ["capabilities", "blob", "action-result", "instance", "token"]
RUN_HEADER = "build.bazel.remote.execution.v2.requestmetadata-bin"


@pytest.fixture(params=TRANSPORTS, scope="module")
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest_asyncio.fixture(loop_scope="module")
async def server(tmp_path: Path, transport: str) -> AsyncIterator[Server]:
    """One for one test."""
    async with serving(tmp_path / "data", transport) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory, transport: str) -> AsyncIterator[Server]:
    """One for all tests that leave nothing behind."""
    async with serving(tmp_path_factory.mktemp("data"), transport) as running:
        yield running


async def ask(
    server: Server,
    method: str,
    path: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, Any]:
    """The status and the JSON of one request, with the token unless ``headers`` are given."""
    if headers is None:
        headers = {"Authorization": f"Bearer {server.token}"}
    content = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()

    def request() -> tuple[int, Any]:
        connection = http.client.HTTPConnection(
            "127.0.0.1", server.app.admin_port, timeout=PATIENCE_S
        )
        try:
            connection.request(method, path, content, headers or {})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    return await asyncio.to_thread(request)


async def checked(server: Server, instance: str = "") -> dict[str, Any]:
    status, answer = await ask(server, "POST", "/v1/check", {"instance": instance})
    assert status == 200, answer
    proofs = {proof["name"]: proof for proof in answer["proofs"]}
    # Where no blob can be written, a result isn't tried: it would fail for the same reason.
    skipped = set() if proofs["blob"]["ok"] else {"action-result"}
    assert list(proofs) == [name for name in PROOFS if name not in skipped]
    return proofs


async def test_every_route_wants_the_token(shared: Server) -> None:
    token = shared.token
    wrong = [
        {},
        {"Authorization": ""},
        {"Authorization": f"Bearer {token}x"},
        {"Authorization": f"Bearer {token[:-1]}"},
        {"Authorization": f"Basic {token}"},
        {"Authorization": f"Basic {encoded(f'{token}:')}"},
        {"Authorization": f"Basic {encoded(f'me:{token}x')}"},
        {"Authorization": token},
        {"Authorization": "Bearer \xe9"},
        {"Cookie": f"Authorization=Bearer {token}"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
    ]
    for method, path in [*ROUTES, ("GET", "/"), ("GET", "/v1/unknown")]:
        for headers in wrong:
            status, answer = await ask(shared, method, path, {"instance": ""}, headers)
            assert (status, answer["error"]) == (401, "unauthenticated")
            assert "Authorization" in answer["message"]
    assert (await ask(shared, "GET", "/v1/health"))[1]["status"] == "serving"


def encoded(credentials: str) -> str:
    return base64.b64encode(credentials.encode()).decode()


async def test_schemes_have_no_case_and_the_token_may_be_a_password(server: Server) -> None:
    token = server.token
    spelt = [f"bearer {token}", f"BEARER {token}"]
    spelt += [f"{scheme} {encoded(f'me:{token}')}" for scheme in ("Basic", "basic", "BASIC")]
    for header in spelt:
        for method, path in ROUTES:  # the last one stops the server
            body = BODIES.get(path) if method == "POST" else None
            headers = {"Authorization": header}
            if path in ("/metrics", "/v1/token/rotate"):
                continue  # the one isn't JSON, the other makes the header wrong
            status, _ = await ask(server, method, path, body, headers)
            assert status in (200, 202), (header, path)


async def test_without_a_token_nothing_is_told_even_if_auth_is_none(
    tmp_path: Path, transport: str
) -> None:
    async with serving(tmp_path, transport, auth="none", anonymous="write") as server:
        for method, path in ROUTES:
            status, answer = await ask(server, method, path, {"instance": ""}, {})
            assert (status, answer["error"]) == (401, "unauthenticated"), path


async def test_health_tells_which_server_this_is(server: Server) -> None:
    status, answer = await ask(server, "GET", "/v1/health")
    assert status == 200
    state = json.loads((Path(server.config.data_dir) / "server.json").read_text())
    assert answer == {
        "api": 1,
        "status": "serving",
        "pid": os.getpid(),
        "boot_id": state["boot_id"],
        "version": "1.2.3+test",
        "started_at": state["started_at"],
        "grpc_address": f"grpc://127.0.0.1:{server.app.grpc_port}",
        "data_dir": server.config.data_dir,
    }


async def test_status_has_the_numbers_of_what_a_client_did(server: Server) -> None:
    await server.client.upload(bytes(300_000))
    get = GetActionResultRequest(instance_name="a/b", action_digest=digest_of(b"x"))
    with pytest.raises(grpc.aio.AioRpcError):
        await server.client.GetActionResult(get)
    status, answer = await ask(server, "GET", "/v1/status")
    assert status == 200
    assert answer.items() >= (await ask(server, "GET", "/v1/health"))[1].items()
    assert answer["calls"] == {
        "ByteStream/Write": {"count": 1, "errors": 0},
        "ActionCache/GetActionResult": {"count": 1, "errors": 0},
    }
    assert answer["action_cache"] == {"a/b": {"hits": 0, "misses": 1, "writes": 0}}
    assert answer["instances"] == ["", "a/b"]
    store = answer["store"]
    assert store["max_bytes"] == server.config.store.max_size
    assert 300_000 < store["disk_bytes"] < 1_000_000
    assert store["free_disk_bytes"] > 0
    assert store["generations"] == 1


async def test_runs_come_newest_first_by_instance_and_at_most_as_many_as_asked(
    server: Server,
) -> None:
    for number in range(25):
        metadata = RequestMetadata(tool_invocation_id=f"run-{number}")
        client = server.connect((RUN_HEADER, metadata.SerializeToString()))
        instance = "odd/ones" if number % 2 else "even"
        update = UpdateActionResultRequest(
            instance_name=instance, action_digest=digest_of(b"x"), action_result=ActionResult()
        )
        await client.UpdateActionResult(update)
        await client.GetActionResult(
            GetActionResultRequest(instance_name=instance, action_digest=digest_of(b"x"))
        )

    async def names(query: str) -> list[str]:
        status, answer = await ask(server, "GET", f"/v1/runs{query}")
        assert status == 200, answer
        return [run["run"] for run in answer["runs"]]

    newest_first = [f"run-{number}" for number in range(24, -1, -1)]
    assert await names("") == newest_first[:20]
    assert await names("?limit=3") == newest_first[:3]
    assert await names("?limit=0") == []
    assert await names("?limit=999999999") == newest_first
    assert await names("?instance=odd/ones&limit=2") == ["run-23", "run-21"]
    assert await names("?instance=odd%2Fones&limit=1") == ["run-23"]
    assert await names("?instance=") == []


@pytest.mark.parametrize("limit", ["x", "-1", "1.5", "", "%C2%B2", "%D9%A3", "9" * 10, "9" * 5000])
async def test_a_limit_that_is_no_number_is_refused(shared: Server, limit: str) -> None:
    status, answer = await ask(shared, "GET", f"/v1/runs?limit={limit}")
    assert (status, answer["error"]) == (400, "bad-request")
    assert "limit" in answer["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'"instance"',
        b'{"instance": null}',
        b'{"instance": 3}',
        b'{"instance": ["a"]}',
        b"[" * 100_000,
    ],
)
async def test_a_check_without_an_instance_is_refused(shared: Server, body: bytes) -> None:
    status, answer = await ask(shared, "POST", "/v1/check", body)
    assert (status, answer["error"]) == (400, "bad-request")
    assert '{"instance": NAME}' in answer["message"]


async def test_a_body_that_is_too_long_is_refused(shared: Server) -> None:
    status, answer = await ask(shared, "POST", "/v1/check", b" " * (2 * MIB))
    assert (status, answer["error"]) == (400, "bad-request")
    assert "at most" in answer["message"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_requests_that_break_off_are_no_errors_of_the_server(
    shared: Server, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    head = f"{method} /v1/{'check' if method == 'POST' else 'status'} HTTP/1.1\r\nHost: h\r\n"
    head += f"Authorization: Bearer {shared.token}\r\n"
    endings = ["\r\nno request\r\n\r\n", "Content-Length: 9\r\n\r\nshort"]
    endings.append("Transfer-Encoding: chunked\r\n\r\nno length\r\n")
    for ending in endings:
        await answer_to(shared.app.admin_port, (head + ending).encode())
    assert (await ask(shared, "GET", "/v1/health"))[0] == 200
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("name", ["a//b", "blobs", "a\n", "\ud800", "x" * 256])
async def test_a_check_of_what_can_be_no_instance_is_refused(shared: Server, name: str) -> None:
    status, answer = await ask(shared, "POST", "/v1/check", {"instance": name})
    assert (status, answer["error"]) == (400, "bad-request")
    assert "instance name" in answer["message"]


async def test_unknown_paths_and_wrong_methods_are_told_apart(shared: Server) -> None:
    for path in ("/", "/v1", "/v2/health", "/v1/health/x", "/v1/../etc/passwd", "/v1/%2e%2e"):
        status, answer = await ask(shared, "GET", path)
        assert (status, answer["error"]) == (404, "not-found"), path
    for method, path in ROUTES:
        other = "POST" if method == "GET" else "GET"
        for wrong in {other, "DELETE", "PUT"} - {one for one, same in ROUTES if same == path}:
            status, answer = await ask(shared, wrong, path)
            assert (status, answer["error"]) == (405, "method-not-allowed"), (wrong, path)
    assert (await ask(shared, "GET", "/v1/health"))[1]["status"] == "serving"


async def test_endless_headers_are_refused_and_the_server_goes_on(shared: Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", shared.app.admin_port)
    writer.write(b"GET /v1/health HTTP/1.1\r\nHost: x\r\nX-Big: " + b"y" * 1_000_000)
    # It ends here: after an answer, or without one because more was on its way.
    with contextlib.suppress(ConnectionResetError):
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    writer.close()
    assert (await ask(shared, "GET", "/v1/health"))[0] == 200


async def test_a_client_that_says_nothing_holds_up_nobody(shared: Server) -> None:
    silent = [await asyncio.open_connection("127.0.0.1", shared.app.admin_port) for _ in range(50)]
    assert (await ask(shared, "GET", "/v1/health"))[0] == 200
    for _, writer in silent:
        writer.close()


@pytest.mark.parametrize("instance", ["", "main", "team/two", "ünï cödé"])
async def test_a_server_that_works_proves_it_and_does_not_count_itself(
    server: Server, instance: str
) -> None:
    proofs = await checked(server, instance)
    for proof in proofs.values():
        assert proof["ok"] is True, proof
        assert proof["remedy"] == ""
        assert proof["detail"]
        assert 0 < proof["milliseconds"] < 1000 * PATIENCE_S
    status = await server.status()
    assert status["calls"] == {}
    assert status["action_cache"] == {}


async def test_prometheus_reads_what_clients_did(server: Server) -> None:
    data = b"x" * 1000
    await server.client.upload(data)
    await server.client.download(digest_of(data))
    there, absent = digest_of(b"there"), digest_of(b"absent")
    await server.client.UpdateActionResult(
        UpdateActionResultRequest(
            instance_name="i", action_digest=there, action_result=ActionResult()
        )
    )
    for action in (there, there, absent):
        with contextlib.suppress(grpc.aio.AioRpcError):
            await server.client.GetActionResult(
                GetActionResultRequest(instance_name="i", action_digest=action)
            )
    await checked(server)
    families = await scraped(server)
    lookups = {"instance": "i", "user": "client"}
    assert families["reapi_action_cache_lookups_total", {**lookups, "outcome": "hit"}] == 2
    assert families["reapi_action_cache_lookups_total", {**lookups, "outcome": "absent"}] == 1
    assert families["reapi_action_cache_writes_total", lookups] == 1
    get = {"method": "ActionCache/GetActionResult"}
    assert families["reapi_call_seconds_count", {**get, "code": "OK"}] == 2
    assert families["reapi_call_seconds_count", {**get, "code": "NOT_FOUND"}] == 1
    for direction in ("in", "out"):
        assert families["reapi_blobs_total", {"direction": direction}] == 1
        assert families["reapi_blob_bytes_total", {"direction": direction}] == 1000
    status = (await server.status())["store"]
    assert families["reapi_store_max_bytes", {}] == status["max_bytes"]
    assert families["reapi_store_generations", {}] == status["generations"]


class Samples:
    """Values by name and labels, as they were scraped."""

    def __init__(self, text: str) -> None:
        self._samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    def __getitem__(self, key: tuple[str, dict[str, str]]) -> float:
        (value,) = (s.value for s in self._samples if (s.name, s.labels) == key)
        return value


async def scraped(server: Server) -> Samples:
    def request() -> Samples:
        connection = http.client.HTTPConnection(
            "127.0.0.1", server.app.admin_port, timeout=PATIENCE_S
        )
        headers = {"Authorization": f"Bearer {server.token}"}
        try:
            connection.request("GET", "/metrics", headers=headers)
            response = connection.getresponse()
            assert response.status == 200
            assert (response.headers["Content-Type"] or "").startswith("text/plain")
            return Samples(response.read().decode())
        finally:
            connection.close()

    return await asyncio.to_thread(request)


async def test_a_proxy_in_the_environment_is_not_asked(
    shared: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("grpc_proxy", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert all(proof["ok"] for proof in (await checked(shared)).values())


async def test_an_instance_that_is_not_listed_is_told_with_a_remedy(
    tmp_path: Path, transport: str
) -> None:
    async with serving(tmp_path, transport, instances=("main",)) as server:
        proofs = await checked(server, "other")
        failed = {name for name, proof in proofs.items() if not proof["ok"]}
        assert failed == {"capabilities", "blob", "instance"}
        assert "'other'" in proofs["blob"]["detail"]
        assert "main" in proofs["blob"]["detail"]
        assert "instance" in proofs["blob"]["remedy"]
        assert all(proof["ok"] for proof in (await checked(server, "main")).values())


async def test_invented_instances_do_not_grow_what_is_told(tmp_path: Path, transport: str) -> None:
    invented = 1500
    async with serving(tmp_path, transport) as server:
        names = [f"{number}-" + 80 * "\u2603" for number in range(invented)]
        for some in (names[start : start + 100] for start in range(0, invented, 100)):
            gets = [
                GetActionResultRequest(instance_name=name, action_digest=digest_of(b"x"))
                for name in some
            ]
            await asyncio.gather(
                *(server.client.GetActionResult(get) for get in gets), return_exceptions=True
            )
        _, status = await ask(server, "GET", "/v1/status")
        caches = status["action_cache"]
        assert sum(cache["misses"] for cache in caches.values()) == invented
        assert caches["(others)"]["misses"] == invented - 100
        assert len(status["instances"]) == 101
        assert len(json.dumps(status)) < 200_000
        assert len(server.app.metrics()) < 200_000


async def test_a_full_store_is_told_with_a_remedy(tmp_path: Path, transport: str) -> None:
    async with serving(tmp_path, transport, min_free=1 << 50) as server:
        proofs = await checked(server)
        assert proofs["capabilities"]["ok"]
        assert proofs["token"]["ok"]
        assert not proofs["blob"]["ok"]
        assert "no room" in proofs["blob"]["detail"]
        assert "free" in proofs["blob"]["remedy"]


async def test_a_broken_store_is_told_with_a_remedy(tmp_path: Path, transport: str) -> None:
    async with serving(tmp_path, transport) as server:
        blobs = server.app._storage.blobs

        async def broken(*args: object) -> None:
            raise RuntimeError("the disk went away")

        blobs.write_many = broken  # type: ignore[method-assign]
        proof = (await checked(server))["blob"]
        assert not proof["ok"]
        assert "INTERNAL" in proof["detail"]
        assert "disk" not in proof["detail"]
        assert "log" in proof["remedy"]


async def test_stop_is_accepted_at_once_and_ends_the_wait(server: Server) -> None:
    waiting = asyncio.create_task(server.app.until_stopped())
    status, answer = await ask(server, "POST", "/v1/stop")
    assert (status, answer) == (202, {"status": "stopping"})
    await waiting
    assert (await ask(server, "GET", "/v1/health"))[1]["status"] == "stopping"


async def test_a_repository_is_shown_unless_it_is_a_home(shared: Server, tmp_path: Path) -> None:
    for repository, status in ((tmp_path, 200), (Path.home(), 400), (tmp_path / "absent", 400)):
        body = {"repository": str(repository), "tools": ["/usr", "relative"]}
        answered, answer = await ask(shared, "POST", "/v1/places", body)
        assert answered == status, answer
        assert status == 200 or str(repository) in answer["message"]
    for malformed in (None, b"{", {}, {"repository": 1}, {"repository": "/", "tools": "/"}, []):
        assert (await ask(shared, "POST", "/v1/places", malformed))[0] == 400
