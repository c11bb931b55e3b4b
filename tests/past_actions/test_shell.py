"""`reapi-local shell`: on a terminal, in the sandbox of an action."""

from __future__ import annotations

import fcntl
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

import pytest

from past_actions.lab import INSTANCE, Lab, users
from patience import PATIENCE_S

MARK = "END-OF-"
GET_NUMBER = 0x80045430
"""TIOCGPTN of ioctl_tty(2), which Python has no name for."""


class Terminal:
    """A terminal of a user, on which a command runs."""

    def __init__(self, lab: Lab, command: Sequence[str]) -> None:
        environment = {**lab.site.env, "PYTHONPATH": lab.site.python_path, "TERM": "dumb"}
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], command, environment)
        self.resize(41, 99)
        self.shown = ""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    @property
    def number(self) -> int:
        """Of the device."""
        return int(struct.unpack("I", fcntl.ioctl(self.fd, GET_NUMBER, bytes(4)))[0])

    def until(self, words: str) -> str:
        """Read until these words come; returns what came before them."""
        while words not in self.shown:
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                data = b""
            assert data, f"{words!r} did not come: {self.shown}"
            self.shown += data.decode(errors="replace").replace("\r", "")
        before, _, self.shown = self.shown.partition(words)
        return before

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def ask(self, command: str, number: int) -> str:
        """What a command prints. The mark isn't in the echo of what is typed."""
        self.type(f"{command}; echo E''ND-OF-{number}-\n")
        return self.until(f"{MARK}{number}-\n")

    def end(self) -> int:
        """The exit status of the command, when it has written all."""
        while True:
            try:
                if not os.read(self.fd, 65536):
                    break
            except OSError:
                break
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def shell(lab: Lab, action: str) -> list[str]:
    """The command of a user."""
    return [sys.executable, "-m", "reapi_local_launcher", "shell", action]


def program(lab: Lab, action: str, sandbox: str) -> list[str]:
    """What the launcher starts, with a certain sandbox."""
    return [
        *(sys.executable, "-m", "reapi_local", "shell", action, f"--instance={INSTANCE}"),
        f"--address=grpc://127.0.0.1:{lab.server.state.grpc_port}",
        *(f"--data-dir={lab.server.data_dir}", f"--sandbox={sandbox}"),
    ]


def work_in(terminal: Terminal, root: str) -> None:
    """What can be done in each shell: `FILES` are there, and the action can be run."""
    terminal.until("`run` runs")
    assert "it's here" in terminal.ask("echo $GREETING", 1)
    listed = terminal.ask("pwd; ls; test -t 0 && test -t 2 && echo on-a-terminal", 2)
    assert f"{root}\nsrc.txt\non-a-terminal\n" in listed
    assert "content\n" in terminal.ask("run", 3)
    assert "run\n" in terminal.ask("cat made", 4)
    terminal.resize(33, 77)
    size = terminal.ask("until stty size | grep '^33 77'; do :; done", 5)
    assert "33 77\n" in size
    # On the user's own terminal it could type commands for the shell that comes after it.
    device = terminal.ask("stat -Lc 'minor=%T.' /proc/self/fd/0", 8)
    assert f"minor={terminal.number:x}." not in device.partition("/fd/0")[2]
    assert "minor=" in device.partition("/fd/0")[2]
    terminal.type("sh -c \"echo start''ed; exec sleep 86400\"\n")
    terminal.until("started\n")
    terminal.type("\x03")
    assert "130\n" in terminal.ask("echo $?", 6)


def leave(terminal: Terminal) -> None:
    terminal.type("exit 7\n")
    assert terminal.end() == 7


def make(lab: Lab) -> str:
    return lab.action(
        "cat src.txt; echo run >made",
        {"src.txt": "content\n"},
        ["made"],
        run=False,
        environment_variables=[{"name": "GREETING", "value": "it's here"}],
    )


@pytest.mark.parametrize("prefix", users(), ids=lambda prefix: "user" if prefix else "own")
@pytest.mark.parametrize("kind", ["lab", "cache"])
def test_a_shell_has_the_files_and_variables_of_the_action(
    kind: str, request: pytest.FixtureRequest, prefix: tuple[str, ...]
) -> None:
    """Also where the server runs no actions itself."""
    lab: Lab = request.getfixturevalue(kind)
    terminal = Terminal(lab, [*prefix, *shell(lab, make(lab))])
    work_in(terminal, "/reapi/root")
    hidden = terminal.ask(f"ls {lab.server.data_dir} || echo hi''dden", 7)
    assert "hidden\n" in hidden
    assert "server.json" not in hidden
    leave(terminal)


@pytest.mark.parametrize("sandbox", ["bubblewrap", "process-group"])
def test_it_is_of_the_kind_that_the_server_uses(lab: Lab, sandbox: str) -> None:
    if sandbox == "bubblewrap" and shutil.which("bwrap") is None:
        pytest.skip("bubblewrap isn't installed")
    terminal = Terminal(lab, program(lab, make(lab), sandbox))
    work_in(terminal, "/root" if sandbox == "process-group" else "/reapi/root")
    leave(terminal)


def test_nothing_is_left_behind_and_the_terminal_is_as_before(lab: Lab, tmp_path: Path) -> None:
    master, user = os.openpty()
    before = termios.tcgetattr(user)
    environment = {**lab.site.env, "PYTHONPATH": lab.site.python_path, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        shell(lab, make(lab)),
        env=environment,
        stdin=user,
        stdout=user,
        stderr=user,
        start_new_session=True,
    )
    os.write(master, b"exit\n")
    shown = b""
    while b"exit\r\n" not in shown.partition(b"$ ")[2]:
        shown += os.read(master, 65536)
    assert process.wait(PATIENCE_S) == 0
    assert termios.tcgetattr(user) == before
    assert list(tmp_path.iterdir()) == []
    os.close(master)
    os.close(user)


def test_without_a_terminal_it_says_what_helps(lab: Lab) -> None:
    assert "There is no terminal" in lab.refusal("shell", make(lab))


def test_where_no_sandbox_works_it_says_why(lab: Lab, tmp_path: Path) -> None:
    done = subprocess.run(
        program(lab, make(lab), "bubblewrap"),
        env={"PYTHONPATH": lab.site.python_path, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: No sandbox works on this machine.\nwhy:    ")
    assert "apt install bubblewrap" in done.stderr
