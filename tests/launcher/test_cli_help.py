"""What `reapi-local` says to somebody who looks around or mistypes: help, version, completion."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest

from launcher.harness import Site
from launcher.server_process import Servers
from reapi_local_launcher.cli.arguments import make_parser

# What only commands need that work with a server or a repository.
_HEAVY = {"subprocess", "socket", "shutil", "tempfile", "zipfile", "json"}


@pytest.mark.parametrize("wanted", [["--version"], ["version"], ["help"], ["completion", "bash"]])
def test_what_needs_no_server_imports_nothing_for_one(site: Site, wanted: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "reapi_local_launcher", *wanted],
        env={**site.env, "PYTHONPATH": site.python_path},
        capture_output=True,
        text=True,
        check=True,
    )
    imported = set(re.findall(r"^import time: .*\| +([\w.]+)$", done.stderr, re.MULTILINE))

    assert "reapi_local_launcher.cli.main" in imported
    assert not imported & _HEAVY
    own = {name.partition(".")[0] for name in imported if name.startswith("reapi")}
    assert own == {"reapi_contract", "reapi_local_launcher"}
    assert not [name for name in imported if name.startswith("reapi_local_launcher.server.")]


def test_the_version_is_the_same_in_each_form(site: Site) -> None:
    forms = [site.run(*words).stdout for words in (["--version"], ["-V"], ["version"])]

    assert forms == ["reapi-local 0.2.0\n"] * 3
    assert site.json("version") == {"version": "0.2.0"}


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["stauts"], "status"),
        (["purg"], "purge"),
        (["stop"], "down"),
        (["help", "chekc"], "check"),
        (["up", "--prot", "3"], "--port"),
        (["down", "--kil"], "--kill"),
        (["check", "--instnce=main"], "--instance"),
        (["--vresion"], "--version"),
    ],
    ids=" ".join,
)
def test_a_mistyped_word_is_answered_with_the_one_that_is_like_it(
    site: Site, words: list[str], meant: str
) -> None:
    done = site.run(*words)

    assert done.returncode == 2
    assert f"did you mean `{meant}`?\n" in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_a_word_like_no_other_gets_no_guess(site: Site) -> None:
    assert site.run("qqqq").stderr.startswith("error: There is no command `qqqq`.\n")


def test_a_flag_before_the_command_is_told_where_it_goes(site: Site) -> None:
    for words in (["--data-dir", "/x", "status"], ["--json", "status"]):
        done = site.run(*words)
        assert done.returncode == 2
        assert done.stderr.startswith(
            f"error: `{words[0]}` goes after the command: `reapi-local COMMAND {words[0]}`.\n"
        )
    assert site.run("--vesion").stderr.startswith("error: There is no flag `--vesion`; did you ")


def test_a_mistake_is_told_in_words_of_ours_within_80_columns(site: Site) -> None:
    told = [
        (["completion", "fsh"], "error: shell: `fsh` is none of bash, zsh, fish.\n"),
        (["up", "--sandbox", "x"], "error: --sandbox: `x` is none of auto, slots, bubblewrap,"),
        (["completion"], "error: An argument is missing: shell.\n"),
        (["up", "--max-size", "5gigs"], "error: --max-size: '5gigs' isn't a size; "),
    ]
    for words, begins in told:
        error = site.run(*words).stderr
        assert error.startswith(begins)
        assert max(map(len, error.splitlines())) <= 80


def test_a_path_in_a_proof_is_never_broken(site: Site) -> None:
    data_dir = site.root / ("a-directory" * 8)
    proof = site.run("check", f"--data-dir={data_dir}").stdout
    assert str(data_dir) in proof.partition("remedy:")[0]


def test_a_mistyped_flag_of_serve_is_answered_by_the_server_in_the_same_form(
    servers: Servers,
) -> None:
    if servers.site.package.joinpath("cli.py").exists():  # the stand-in has a parser of its own
        done = servers.site.run("serve", "--max-siz", "1GiB")
        assert done.returncode == 2
        assert done.stderr.startswith(
            "error: There is no flag `--max-siz`; did you mean `--max-size`?\n"
        )
        assert "usage" not in done.stderr
        missing = servers.site.run("serve", "--lease")
        assert missing.stderr.startswith("error: --lease: expected one argument\n")
        assert "usage" not in missing.stderr


def test_alone_it_says_what_runs_and_which_commands_help_now(site: Site) -> None:
    before = site.run()
    state = site.json("up")
    after = site.run()

    assert before.returncode == after.returncode == 0
    assert before.stdout.startswith(f"No server is running for {site.data_dir}\n")
    assert "  reapi-local up " in before.stdout
    assert f"process {state['pid']}, up " in after.stdout.splitlines()[0]
    assert f"  address    {state['grpc_address']}\n" in after.stdout
    assert "  reapi-local down " in after.stdout
    site.run("down")
    ended = site.run()
    assert "  reapi-local logs " in ended.stdout
    assert "  reapi-local logs " not in before.stdout
    for text in (before.stdout, after.stdout, ended.stdout):
        named = re.findall(r"^  reapi-local (\w+)", text, re.MULTILINE)
        assert set(named) <= set(make_parser().commands)
        long = [line for line in text.splitlines() if len(line) > 80]
        assert not [line for line in long if str(site.data_dir) not in line]


def test_names_that_the_output_cannot_show_are_escaped(site: Site) -> None:
    site.env["PYTHONIOENCODING"] = "ascii"
    data_dir = site.root / "żółć"
    shown = str(data_dir).replace("żółć", r"\u017c\xf3\u0142\u0107")
    flag = f"--data-dir={data_dir}"
    try:
        up = site.run("up", flag)
        texts = [site.run(command, flag).stdout for command in ("status", "logs")]
        check = site.run("check", flag)
        answer = json.loads(site.run("status", flag, "--json").stdout)
    finally:
        down = site.run("down", flag)

    assert (up.returncode, up.stderr) == (0, "")
    assert f"  data       {shown}\n" in up.stdout
    assert shown in texts[0]
    assert check.returncode == 0
    assert answer["data_dir"] == str(data_dir)
    assert down.returncode == 0
    no_server = site.run("status", flag)
    assert no_server.stdout.startswith(f"No server is running for {shown}\n")


def test_a_name_that_is_no_text_is_escaped_in_every_encoding(site: Site) -> None:
    done = site.run("status", "--data-dir=" + b"/nonexistent/\xff".decode(errors="surrogateescape"))

    assert done.stdout.startswith("No server is running for /nonexistent/\\udcff\n")


def _complete_in_bash(site: Site, line: str) -> list[str]:
    script = site.run("completion", "bash").stdout
    words = line.split(" ")
    # As bash calls it: `=` is a word of its own.
    split = [part for word in words for part in re.split("(=)", word) if part or not word]
    program = (
        f"{script}\nCOMP_WORDS=({' '.join(repr(word) for word in split)})\n"
        f"COMP_CWORD={len(split) - 1}\n_reapi_local\n"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


def _complete_in_fish(site: Site, line: str) -> list[str]:
    script = site.run("completion", "fish").stdout
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"{script}\ncomplete -C '{line}'"],
        env={**site.env, "TERM": "dumb"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return [one.partition("\t")[0] for one in done.stdout.splitlines()]


# A zsh without a terminal completes nothing, so only what the script would offer is looked at.
_ZSH = """
autoload -Uz compinit; compinit -D -u
%s
_describe() { print -rl -- ${(P)2}; }
compadd() { shift; print -rl -- "$@"; }
compset() { return 0; }
_files() { print FILES; }
words=(%s)
CURRENT=%d
_reapi_local
"""


def _complete_in_zsh(site: Site, line: str) -> list[str]:
    script = site.run("completion", "zsh").stdout
    words = line.split(" ")
    program = _ZSH % (script, " ".join(repr(word) for word in words), len(words))
    done = subprocess.run(["zsh", "-f", "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return [one.partition(":")[0] for one in done.stdout.splitlines()]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_flags_and_values(site: Site, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    complete = {"bash": _complete_in_bash, "zsh": _complete_in_zsh, "fish": _complete_in_fish}[
        shell
    ]
    parser = make_parser()

    assert set(parser.commands) <= set(complete(site, "reapi-local "))
    flags = set(complete(site, "reapi-local down --"))
    assert {flag for flag in parser.commands["down"].flags if flag.startswith("--")} <= flags
    assert "--port" not in flags
    assert set(complete(site, "reapi-local check --format ")) == {"text", "json"}
    after_equals = {one.rpartition("=")[2] for one in complete(site, "reapi-local up --sandbox=")}
    assert after_equals == set(parser.commands["up"].flags["--sandbox"].choices or ())
    assert {"bash", "zsh", "fish"} <= set(complete(site, "reapi-local completion "))
    assert "status" in complete(site, "reapi-local help ")
