"""What `check`, `status`, `purge` and wrong calls say and do."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from launcher.harness import REAL, Site
from reapi_contract.sizes import format_size, parse_size, parse_store_size
from reapi_local_launcher.cli.arguments import make_parser


def test_up_prints_where_the_server_is_and_what_to_do_for_bazel(site: Site) -> None:
    done = site.run("up", "--instance=main")

    assert done.stdout.startswith("reapi-local 0.2.0 was started, process ")
    assert f"  address    grpc://127.0.0.1:{site.state()['grpc_port']}\n" in done.stdout
    command = "reapi-local bazelrc --instance=main --output ~/.bazelrc.reapi-local"
    assert f"  {command}\n" in done.stdout
    assert f"  try-import {site.home}/.bazelrc.reapi-local\n" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.skipif(REAL, reason="the stand-in runs processes in whatever sandbox is named")
def test_up_says_how_processes_run_and_how_bazel_sends_them(site: Site) -> None:
    done = site.run("up", "--slots=3", "--hermetic")
    address = f"grpc://127.0.0.1:{site.state()['grpc_port']}"

    assert "  execution  slots sandbox, 3 at once, no network\n" in done.stdout
    assert "With `--execution` added to the command" in done.stdout
    answer = site.json("up")
    assert answer["bazel_execution_flags"] == [f"--remote_executor={address}"]
    assert (answer["execution"]["slots"], answer["execution"]["hermetic"]) == (3, True)
    assert answer["notes"] == []


@pytest.mark.skipif(REAL, reason="the stand-in has no bubblewrap")
def test_where_no_processes_run_up_offers_none_and_status_says_why(site: Site) -> None:
    up = site.run("up", "--sandbox=bubblewrap")
    status = site.run("status")

    assert up.returncode == 0, "it is a cache all the same"
    assert "  execution  none\n" in up.stdout
    assert "--execution" not in up.stdout
    assert "  execution    none\n" in status.stdout
    assert "note:   There is no `bwrap`; `apt install bubblewrap`.\n" in status.stdout


@pytest.mark.skipif(REAL, reason="the stand-in runs processes in whatever sandbox is named")
def test_what_a_running_server_was_not_started_with_is_noted(site: Site) -> None:
    site.json("up", "--sandbox=process-group")
    notes = site.json("up", "--slots=9", "--sandbox=slots", "--hermetic")["notes"]

    up = "reapi-local up --slots=9 --sandbox=slots --hermetic"
    change = f"; to change: `reapi-local down`, then `{up}`."
    assert notes == [
        "Processes can read your files.",
        "The running server runs 2 processes at once" + change,
        "The running server uses the sandbox process-group" + change,
        "The running server gives processes the network" + change,
    ]


def test_check_lists_every_proof_and_succeeds(site: Site) -> None:
    site.json("up")
    done = site.run("check")

    assert done.returncode == 0
    assert re.search(r"^ok      reachable +\d+\.\d ms  grpc://", done.stdout, re.MULTILINE)
    assert re.search(r"^ok      instance +\d+\.\d ms", done.stdout, re.MULTILINE)
    assert re.search(r"^All \d proofs hold\.$", done.stdout, re.MULTILINE)
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_check_fails_with_a_remedy_where_no_server_runs(site: Site) -> None:
    done = site.run("check")

    assert done.returncode == 1
    assert "FAILED  reachable" in done.stdout
    assert "remedy: Start one with `reapi-local up`." in done.stdout


@pytest.mark.skipif(REAL, reason="the stand-in forbids this instance")
def test_check_fails_with_the_remedy_of_the_server(site: Site) -> None:
    site.json("up")
    done = site.run("check", "--instance=forbidden", "--format=json")
    answer = json.loads(done.stdout)

    assert done.returncode == 1
    assert answer["ok"] is False
    assert answer["proofs"][1]["remedy"] == "Use an instance that this server has."


@pytest.mark.skipif(REAL, reason="compares with the numbers of the stand-in")
def test_status_shows_sizes_and_hits(site: Site) -> None:
    before = site.run("status")
    site.json("up")
    done = site.run("status")

    assert before.stdout.startswith("No server is running")
    assert "3.0 GiB of 20.0 GiB (15%)" in done.stdout
    assert re.search(r"^ +main +900 +300 +300 +75%$", done.stdout, re.MULTILINE)
    assert re.search(r"^ +main +1,300 +20 +1$", done.stdout, re.MULTILINE)
    assert re.search(r"^ +ActionCache/GetActionResult +1,200 +0$", done.stdout, re.MULTILINE)
    assert [line for line in done.stdout.splitlines() if len(line) > 80] in (
        [],
        [f"  data         {site.data_dir}"],
    )


def test_purge_empties_the_store_and_keeps_token_and_port(site: Site) -> None:
    before, token = site.json("up"), site.state()["token"]
    (site.data_dir / "store" / "blob").write_bytes(b"x" * 100_000)

    done = site.json("purge", "--yes")

    assert done["freed_bytes"] >= 100_000
    assert not (site.data_dir / "store" / "blob").exists()
    after = done["running"]
    assert after["boot_id"] != before["boot_id"]
    assert after["grpc_port"] == before["grpc_port"]
    assert site.state()["token"] == token


def test_a_purged_server_runs_processes_as_before(site: Site) -> None:
    site.json("up", "--slots=3", "--hermetic", "--sandbox=process-group")
    before = site.json("status")["execution"]
    site.json("purge", "--yes")
    assert site.json("status")["execution"] == before


def test_the_version_of_half_an_installation_is_an_error_with_a_remedy(site: Site) -> None:
    shutil.rmtree(site.package)
    done = site.run("--version")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    assert "reinstall reapi-local" in " ".join(done.stderr.split())


def test_purge_without_a_terminal_says_why_nothing_was_deleted(site: Site) -> None:
    (site.data_dir / "store").mkdir(parents=True)
    done = site.run("purge")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Nothing was deleted because nobody could be asked")
    assert "`reapi-local purge --yes` does not ask.\n" in done.stderr
    assert (site.data_dir / "store").exists()


def test_where_nothing_can_be_written_the_remedy_names_the_command_that_was_run(site: Site) -> None:
    site.env["XDG_CACHE_HOME"] = "/dev/null/x"
    done = site.run("tls", "init")
    assert done.returncode == 1
    assert "`reapi-local tls init`" in done.stderr
    assert "`reapi-local up" not in done.stderr


def test_purge_leaves_a_stopped_server_stopped_and_other_files_alone(site: Site) -> None:
    site.json("up")
    site.json("down")
    (site.data_dir / "of-the-user").touch()

    assert site.json("purge", "--yes")["running"] is None
    assert (site.data_dir / "of-the-user").exists()
    assert site.json("status")["running"] is False


def test_purge_without_a_terminal_or_yes_deletes_nothing(site: Site) -> None:
    site.json("up")
    done = site.run("purge")

    assert done.returncode == 1
    assert "--yes" in done.stderr
    assert (site.data_dir / "store").exists()


@pytest.mark.skipif(REAL, reason="the stand-in has a note for this sandbox")
def test_status_has_one_line_for_how_processes_run_and_json_all_of_it(site: Site) -> None:
    site.json("up", "--sandbox=process-group")

    done = site.run("status")

    assert "  execution    no sandbox, 2 at once\n" in done.stdout
    assert "note:" not in done.stdout
    assert site.json("status")["execution"]["notes"] == ["Processes can read your files."]


def test_the_version_is_that_of_the_server_it_would_start(site: Site) -> None:
    done = site.run("--version")

    assert (done.returncode, done.stdout) == (0, "reapi-local 0.2.0\n")


@pytest.mark.parametrize(
    "arguments",
    [
        *(["up", "--port=high"], ["up", "--max-size=lots"], ["up", "--slots=-1"]),
        *(["up", "--max-size=1"], ["up", "--port=65536"], ["up", "--slots=1025"]),
        *(["up", "--idle-exit=-1"], ["up", "--sandbox=none"], ["fly"], ["status", "--colour"]),
        *(["status", "more"], ["logs", "-n", "few"], ["completion", "cmd"], ["help", "fly"]),
        *(["check", "--token-path=t"], ["check", "--ca-certs-path=c"]),
        ["check", "--server-python=p"],
    ],
    ids=" ".join,
)
def test_a_wrong_call_ends_with_status_2(site: Site, arguments: list[str]) -> None:
    done = site.run(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert "usage" not in done.stderr
    assert "`reapi-local help" in done.stderr


def test_errors_are_json_where_json_is_asked_for(site: Site) -> None:
    done = site.run("up", "--format=json", "--server-python=/nonexistent")

    assert done.returncode == 1
    assert set(json.loads(done.stdout)["error"]) == {"what", "why", "remedy"}


@pytest.mark.parametrize("command", ["", *make_parser().commands], ids=str)
def test_every_command_has_a_help_text_of_80_columns(site: Site, command: str) -> None:
    done = site.run(*filter(None, [command]), "--help")

    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: reapi-local {command}".rstrip())
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert site.run("help", *filter(None, [command])).stdout == done.stdout


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("1", 1), ("20GiB", 20 * 1024**3), ("500 MB", 500_000_000), ("1.5kb", 1500), ("7B", 7)],
)
def test_sizes_are_read_as_people_write_them(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "-1", "GiB", "1XB", "1 2", "nan", "١GiB"])
def test_other_texts_are_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="write 20GiB, 500MB"):
        parse_size(text)


@pytest.mark.parametrize("text", ["0", "1", "0.2B", "1048575", "1023KiB", "4.1TiB", "99999999TB"])
def test_limits_that_no_store_can_have_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"at least 1\.0 MiB|at most 4\.0 TiB"):
        parse_store_size(text)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536 * 1024**4, "1536.0 TiB")],
)
def test_sizes_are_shown_in_the_largest_unit_that_fits(size_bytes: int, text: str) -> None:
    assert format_size(size_bytes) == text


def test_a_purge_of_nothing_says_that_nothing_was_there(site: Site) -> None:
    done = site.run("purge")

    assert done.returncode == 0, "there is nothing to ask about"
    assert done.stdout == f"There is no store in {site.data_dir}, so nothing was deleted.\n"
    assert site.json("purge") == {"freed_bytes": 0, "running": None}
    assert not site.data_dir.exists()


def test_a_flag_for_the_server_of_others_names_the_flag_that_it_needs(site: Site) -> None:
    done = site.run("check", "--token-path=token")

    assert "--token-path is for a server that somebody else runs; add --address" in done.stderr
