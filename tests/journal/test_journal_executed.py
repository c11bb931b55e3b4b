"""What the server executed is in the journal, with its inputs, and is found by who reported it."""

from __future__ import annotations

import zlib
from pathlib import Path

from journal.journal_server import Run, answer, database, digest_of, named, report
from reapi_contract.sandbox_levels import PROCESS_GROUP
from reapi_local.proto import remote_execution_pb2 as re_pb2
from server.process import Process

WRAPPER = b'#!/bin/sh\nexec "$@"\n'


def test_an_executed_action_is_that_of_the_process_that_pants_has_wrapped(tmp_path: Path) -> None:
    file = re_pb2.FileNode(name="in.txt", digest=digest_of(b"input"))
    wrapper = re_pb2.FileNode(
        name="__pants_wrapper__", digest=digest_of(WRAPPER), is_executable=True
    )
    own = re_pb2.Directory(files=[file]).SerializeToString()
    root = re_pb2.Directory(files=[wrapper, file]).SerializeToString()
    argv, env = ["/bin/sh", "-c", "cat in.txt; exit 7"], {"A": "1"}
    variables = {**env, "PANTS_CACHE_KEY_TARGET_PLATFORM": "linux"}
    command = re_pb2.Command(
        arguments=["./__pants_wrapper__", *argv],
        environment_variables=[{"name": name, "value": variables[name]} for name in variables],
    ).SerializeToString()
    action = re_pb2.Action(
        command_digest=digest_of(command), input_root_digest=digest_of(root)
    ).SerializeToString()
    data_dir = tmp_path / "data"
    flags = ("--execution", "on", "--sandbox", PROCESS_GROUP, "--slots", "1")
    with Process("--data-dir", str(data_dir), *flags) as server:
        server.serving()
        run = Run(data_dir, "run")
        run.store(b"input", WRAPPER, root, command, action)
        assert run.execute(digest_of(action)).result.exit_code == 7
        process = {"argv": argv, "env": env, "input_root": named(digest_of(own))}
        report(data_dir, {"run": "run"}, {"span": "1", "source": "Ran", **process})
        [known] = answer(data_dir, "/v1/runs/run")["processes"]
        assert known["action"] == named(digest_of(action))
        [execution] = answer(data_dir, f"/v1/actions/{known['action']}")["executions"]
        assert (execution["run"], execution["exit_code"], execution["code"]) == ("run", 7, 0)
        answer(data_dir, "/v1/runs")
        with database(data_dir) as connection:
            rows = connection.execute("SELECT body FROM directories").fetchall()
    assert own in [zlib.decompress(body) for (body,) in rows]
