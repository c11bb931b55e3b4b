"""A server process with its journal, and a client that makes calls of a run."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import sqlite3
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
from google.longrunning import operations_pb2

from patience import PATIENCE_S
from reapi_local.proto import remote_execution_pb2 as re_pb2
from server.process import Process, state_of

_RUN_HEADER = "build.bazel.remote.execution.v2.requestmetadata-bin"
_SERVICES = "/build.bazel.remote.execution.v2."
_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1))


def digest_of(data: bytes) -> re_pb2.Digest:
    return re_pb2.Digest(hash=hashlib.sha256(data).hexdigest(), size_bytes=len(data))


def named(digest: re_pb2.Digest) -> str:
    return f"{digest.hash}/{digest.size_bytes}"


class Run:
    """The calls of one run."""

    def __init__(self, data_dir: Path, run: str, tool: str = "pants", **metadata: str) -> None:
        state = state_of(data_dir)
        told = re_pb2.RequestMetadata(
            tool_details={"tool_name": tool, "tool_version": "2.17.1"},
            tool_invocation_id=run,
            **metadata,
        )
        self._headers = (
            ("authorization", f"Bearer {state['token']}"),
            (_RUN_HEADER, told.SerializeToString()),
        )
        self.channel = grpc.insecure_channel(f"127.0.0.1:{state['grpc_port']}", _OPTIONS)

    def _call(self, method: str, request: Any, answer: Any) -> Any:
        call = self.channel.unary_unary(
            _SERVICES + method, type(request).SerializeToString, answer.FromString
        )
        return call(request, metadata=self._headers, timeout=PATIENCE_S)

    def store(self, *blobs: bytes) -> None:
        request = re_pb2.BatchUpdateBlobsRequest(
            requests=[{"digest": digest_of(blob), "data": blob} for blob in blobs]
        )
        answer = self._call(
            "ContentAddressableStorage/BatchUpdateBlobs", request, re_pb2.BatchUpdateBlobsResponse
        )
        assert all(one.status.code == 0 for one in answer.responses)

    def look_up(self, action: re_pb2.Digest, instance: str = "") -> bool:
        request = re_pb2.GetActionResultRequest(instance_name=instance, action_digest=action)
        try:
            self._call("ActionCache/GetActionResult", request, re_pb2.ActionResult)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            return False
        return True

    def execute(self, action: re_pb2.Digest) -> re_pb2.ExecuteResponse:
        """The response of the action's execution."""
        call = self.channel.unary_stream(
            _SERVICES + "Execution/Execute",
            re_pb2.ExecuteRequest.SerializeToString,
            operations_pb2.Operation.FromString,
        )
        request = re_pb2.ExecuteRequest(action_digest=action, skip_cache_lookup=True)
        *_, last = call(request, metadata=self._headers, timeout=PATIENCE_S)
        response = re_pb2.ExecuteResponse()
        assert last.response.Unpack(response), last
        return response

    def write(self, action: re_pb2.Digest, instance: str = "", **result: Any) -> None:
        request = re_pb2.UpdateActionResultRequest(
            instance_name=instance, action_digest=action, action_result=result
        )
        self._call("ActionCache/UpdateActionResult", request, re_pb2.ActionResult)


class Action:
    """An action with its blobs, as Pants uploads them; its inputs are one file."""

    def __init__(
        self,
        argv: Sequence[str],
        env: dict[str, str] | None = None,
        content: bytes = b"",
        timeout_s: int = 0,
    ) -> None:
        self.file = content
        inner = re_pb2.Directory(files=[{"name": "a.py", "digest": digest_of(content)}])
        self.inner = inner.SerializeToString()
        outer = re_pb2.Directory(directories=[{"name": "src", "digest": digest_of(self.inner)}])
        self.root = outer.SerializeToString()
        variables = [{"name": name, "value": value} for name, value in (env or {}).items()]
        command = re_pb2.Command(arguments=argv, environment_variables=variables)
        self.command = command.SerializeToString()
        action = re_pb2.Action(
            command_digest=digest_of(self.command), input_root_digest=digest_of(self.root)
        )
        if timeout_s:
            action.timeout.seconds = timeout_s
        self.blob = action.SerializeToString()
        self.digest = digest_of(self.blob)
        self.process = {
            "argv": list(argv),
            "env": env or {},
            "input_root": named(digest_of(self.root)),
            "timeout_ms": timeout_s * 1000,
        }


def ask(
    data_dir: Path, method: str, path: str, body: object = None, **query: object
) -> tuple[int, Any]:
    """Status and JSON of one request to the admin interface."""
    state = state_of(data_dir)
    connection = http.client.HTTPConnection("127.0.0.1", state["admin_port"], timeout=PATIENCE_S)
    try:
        connection.request(
            method,
            f"{path}?{urllib.parse.urlencode(query)}",
            None if body is None else json.dumps(body),
            {"Authorization": f"Bearer {state['token']}"},
        )
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def answer(data_dir: Path, path: str, **query: object) -> Any:
    """The JSON of a request that succeeds."""
    status, content = ask(data_dir, "GET", path, **query)
    assert status == 200, content
    return content


def report(data_dir: Path, run: dict[str, Any], *processes: dict[str, Any]) -> dict[str, Any]:
    """Post a report; returns what was kept."""
    body = {"run": run, "processes": processes}
    status, content = ask(data_dir, "POST", "/v1/reports", body)
    assert status == 200, content
    assert isinstance(content, dict)
    return content


@contextlib.contextmanager
def serving(data_dir: Path, *flags: str) -> Iterator[Process]:
    """A server that doesn't execute, in a process of its own."""
    with Process("--data-dir", str(data_dir), "--execution", "off", *flags) as process:
        process.serving()
        yield process


@contextlib.contextmanager
def database(data_dir: Path) -> Iterator[sqlite3.Connection]:
    """The journal as any other program could open it."""
    path = data_dir / "journal" / "journal.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection
