"""Remedies are the exact commands for this server; what it does otherwise than asked is noted."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from launcher.harness import REAL, Site
from reapi_contract.bounds import DEFAULT_PORT
from reapi_local_plugin.options import launcher_settings


def test_remedies_name_the_data_directory_that_was_given(site: Site, tmp_path: Path) -> None:
    flag = f"--data-dir={tmp_path / 'my data'}"
    shown = f"'{flag}'"

    absent = site.run("check", flag).stdout
    assert f"`reapi-local up {shown}`." in absent, "a command is on one line, to be copied"
    up = site.json("up", flag)
    again = site.json("up", flag, "--max-size=3GiB", "--slots=7", "--instance=a")
    os.kill(up["pid"], signal.SIGSTOP)
    hung = site.run("status", flag)
    os.kill(up["pid"], signal.SIGKILL)

    restart = (
        f"`reapi-local down {shown}`, then `reapi-local up {shown} --max-size=3GiB --slots=7 "
        "--instance=a`."
    )
    assert f"The running server keeps its limit of 20.0 GiB; to change: {restart}" in again["notes"]
    assert f"`reapi-local down --kill {shown}`" in hung.stdout


def test_what_a_running_server_keeps_is_noted(site: Site) -> None:
    site.json("up", "--idle-exit=60", "--instance=main")
    notes = site.json("up", "--idle-exit=90", "--instance=other")["notes"]
    same = site.json("up", "--idle-exit=60", "--instance=main")["notes"]

    assert "The running server stops after 60 s without a call; to change:" in notes[0]
    assert "The running server accepts only main; to change:" in notes[1]
    assert [note for note in same if "to change" in note] == []


def test_a_port_that_is_not_the_usual_one_is_said(site: Site) -> None:
    port = site.json("up")["grpc_port"]
    site.json("down")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        moved = site.json("up")

    expected = (
        f"Port {port}, which the server had last, is in use by another program, so the server has "
        f"port {moved['grpc_port']} now."
    )
    assert expected in moved["notes"]


@pytest.mark.skipif(not REAL, reason="the stand-in has no usual port")
def test_the_first_start_says_that_the_usual_port_is_taken(site: Site) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind(("127.0.0.1", DEFAULT_PORT))
        except OSError:
            pass  # another program has it already
        else:
            other.listen()
        notes = site.json("up")["notes"]
    assert any(note.startswith(f"Port {DEFAULT_PORT}, the usual one, is in use") for note in notes)


def test_why_and_remedy_are_two_sentences(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = site.run("up", f"--port={taken.getsockname()[1]}", "--format=json")
    error = json.loads(done.stdout)["error"]
    assert "--port" in error["remedy"]
    assert "--port" not in error["why"]


def test_a_server_that_takes_the_place_of_another_is_not_said_to_be_replaced(site: Site) -> None:
    site.set_version("0.1.9")
    site.json("up")
    site.set_version("0.2.0")
    said = site.run("up").stdout
    assert said.startswith("reapi-local 0.2.0 replaced the server that ran, process ")


def test_the_plugin_names_options_that_were_given_as_flags() -> None:
    flag, default = SimpleNamespace(name="FLAG"), SimpleNamespace(name="CONFIG")
    ranks = {"data_dir": flag, "max_size": flag, "hermetic": flag, "slots": default, "show": flag}
    reapi = SimpleNamespace(
        data_dir="/my data",
        port=0,
        max_size="3GiB",
        idle_exit=0,
        slots=3,
        server_python=None,
        hermetic=True,
        sandbox="auto",
        show=["~/a b", "/tools"],
        get_rank=lambda name: ranks.get(name, default),
    )
    labels = launcher_settings(reapi, executes=True).labels
    assert labels.up == (
        "pants reapi-up --execution '--reapi-data-dir=/my data' --reapi-max-size=3GiB "
        "--reapi-hermetic '--reapi-show=~/a b' --reapi-show=/tools"
    )
    assert labels.kill == "pants reapi-down --kill '--reapi-data-dir=/my data'"
