"""How bubblewrap isolates actions: test cases that need a directory visible to actions."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

from execute.sandbox_bench import PATH, Bench, cases_in, run_cases
from reapi_local.execute.sandbox.action_paths import CACHES, INPUT_ROOT
from reapi_local.execute.sandbox.interface import ActionLimits

MIB = 1024 * 1024
PYTHON = os.path.realpath(sys.executable)


async def the_host_is_visible_but_read_only(bench: Bench) -> None:
    seen = await bench.shell("ls -d /usr/bin /etc/passwd && cat /etc/passwd > /dev/null && echo y")
    assert seen.stdout.endswith(b"y\n")
    places = "/ /etc /usr /opt /dev /proc /sys /run /reapi /reapi/lib $HOST"
    left = await bench.shell(
        f"for place in {places}; do touch $place/new 2>/dev/null && echo $place; done",
        environment={"PATH": PATH, "HOST": str(bench.directory)},
    )
    assert left.stdout == b""


async def hidden_directories_are_empty(bench: Bench) -> None:
    hidden = bench.directory / "hidden"
    hidden.mkdir()
    (hidden / "token").write_text("a secret")
    (bench.directory / "open").write_text("no secret")
    bench.layer({"input": "a secret"})
    async with bench.limited(ActionLimits()):
        seen = await bench.shell(
            "cd $1; cat open; ls -A hidden layers caches work | grep -v :", str(bench.directory)
        )
    assert seen.stdout.strip() == b"no secret"


async def an_interpreter_is_found_at_its_path_on_the_host(bench: Bench) -> None:
    look = "import getpass, os, pwd; print(pwd.getpwuid(os.getuid()).pw_uid == os.getuid())"
    seen = await bench.run(PYTHON, "-c", look)
    assert (seen.stdout, seen.stderr) == (b"True\n", b"")


async def temporary_files_of_the_host_arent_visible(bench: Bench) -> None:
    seen = await bench.shell("ls -A /tmp /var/tmp /dev/shm /reapi/home . | grep -v :")
    assert seen.stdout.strip() == b""


async def processes_of_the_host_arent_visible(bench: Bench) -> None:
    seen = await bench.shell("ls -d /proc/[0-9]* | wc -l; kill -0 $1", str(os.getpid()))
    assert int(seen.stdout) < 8
    assert seen.process_result.exit_code != 0


async def the_supervisor_is_out_of_reach(bench: Bench) -> None:
    attach = "import ctypes; print(ctypes.CDLL(None).ptrace(16, 1, 0, 0))"
    assert (await bench.run(PYTHON, "-c", attach)).stdout == b"-1\n"
    for path in ("environ", "mem", "maps"):
        assert (await bench.shell(f"head -c 1 /proc/1/{path}")).stdout == b""
    assert (await bench.shell("ls /proc/1/root/ /proc/1/fd/")).stdout == b""
    seen = await bench.shell("kill -9 1; kill -INT 1; kill -TERM 1; exit 7")
    assert seen.process_result.exit_code == 7


async def an_action_that_kills_all_processes_kills_only_its_own(bench: Bench) -> None:
    seen = await bench.shell("kill -9 -1; exit 7")
    assert seen.process_result.exit_code in (7, 128 + 9)
    assert (await bench.shell("echo usable")).stdout == b"usable\n"


async def actions_have_no_capability_and_cant_gain_one(bench: Bench) -> None:
    seen = await bench.run(
        "grep", "-E", "^(CapPrm|CapEff|CapAmb|NoNewPrivs|Seccomp):", "/proc/self/status"
    )
    assert [int(line.split()[1], 16) for line in seen.stdout.splitlines()] == [0, 0, 0, 1, 2]
    assert (await bench.shell("id -u")).stdout.strip() not in (b"", b"0")
    for forbidden in ("mount -t tmpfs none /tmp", "mknod x b 8 0", "unshare --mount true"):
        assert (await bench.shell(forbidden)).process_result.exit_code != 0


async def kernel_settings_cant_be_written(bench: Bench) -> None:
    for path in ("sys/kernel/core_pattern", "sys/vm/drop_caches", "sysrq-trigger"):
        assert (await bench.shell(f"echo 1 > /proc/{path}")).process_result.exit_code != 0
    assert (await bench.shell("find /sys -writable ! -type l | head -1")).stdout == b""


async def only_loopback_is_available_unless_the_network_is_requested(bench: Bench) -> None:
    connect = (
        "import socket, sys\n"
        "try: socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
        "except OSError as error: print(error.strerror)\n"
        "else: print('connected')"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        without = await bench.run(PYTHON, "-c", connect, port)
        having = await bench.run(PYTHON, "-c", connect, port, network=True)
    assert (without.stdout, having.stdout) == (b"Connection refused\n", b"connected\n")
    itself = (
        "import socket; server = socket.create_server(('127.0.0.1', 0));"
        "socket.create_connection(server.getsockname()); print('connected')"
    )
    assert (await bench.run(PYTHON, "-c", itself)).stdout == b"connected\n"


async def abstract_sockets_of_the_host_cant_be_reached(bench: Bench) -> None:
    name = f"reapi-local-test-{os.getpid()}"
    connect = f"import socket; socket.socket(socket.AF_UNIX).connect('\\0{name}')"
    release = tuple(int(number) for number in os.uname().release.split(".")[:2])
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{name}")
        server.listen()
        assert (await bench.run(PYTHON, "-c", connect)).process_result.exit_code != 0
        shared = await bench.run(PYTHON, "-c", connect, network=True)
        assert (shared.process_result.exit_code != 0) == (release >= (6, 12))


async def a_fork_bomb_ends_at_the_limit(bench: Bench) -> None:
    bomb = (
        "import os\n"
        "try:\n"
        "  for number in range(1000):\n"
        "    if os.fork() == 0: os.read(0, 1) or __import__('signal').pause()\n"
        "except OSError: print('refused', number)"
    )
    async with bench.limited(ActionLimits(processes=40)):
        seen = await bench.run(PYTHON, "-c", bomb)
        word, number = seen.stdout.split()
        assert word == b"refused"
        assert int(number) <= 80
        assert (await bench.shell("echo usable | cat")).stdout == b"usable\n"


async def a_file_over_the_limit_is_reported(bench: Bench) -> None:
    told = ("it wrote a file of more than 1 MiB; raise action_file_size",)
    async with bench.limited(ActionLimits(file_bytes=MIB)):
        for script in ("exec head -c 3M /dev/zero > file", "exec head -c 3M /dev/zero"):
            seen = await bench.shell(script)
            assert seen.process_result.exit_code != 0
            assert seen.process_result.limits_exceeded == told
        deaf = await bench.shell("trap '' PIPE; head -c 3M /dev/zero 2>/dev/null; exit 0")
        assert deaf.process_result.exit_code != 0


async def cpu_time_over_the_limit_is_reported(bench: Bench) -> None:
    async with bench.limited(ActionLimits(cpu_seconds=1)):
        seen = await bench.shell("while :; do :; done")
        told = "it used more than 1 seconds of CPU time; raise action_cpu_seconds"
        assert seen.process_result.limits_exceeded == (told,)


async def scratch_space_is_limited_or_a_note_says_that_it_isnt(bench: Bench) -> None:
    limits = ActionLimits(scratch_bytes=4 * MIB, scratch_inodes=500)
    async with bench.limited(limits):
        if os.getuid() != 0:
            assert "scratch_size" in " ".join(bench.sandbox.notes)
            return
        for place in (".", "/reapi/home", "/tmp", "/var/tmp", "/dev/shm"):
            seen = await bench.shell(f"head -c 9M /dev/zero > {place}/file")
            assert seen.process_result.exit_code != 0
            assert "raise scratch_size" in seen.process_result.limits_exceeded[0]
        flood = await bench.run("yes")
        assert flood.process_result.exit_code == 128 + 13
        assert "raise scratch_size" in flood.process_result.limits_exceeded[0]
        many = await bench.shell("i=0; while : > $i; do i=$((i+1)); done")
        assert "raise scratch_inodes" in many.process_result.limits_exceeded[0]
        assert (await bench.shell("echo usable > file; cat file")).stdout == b"usable\n"


async def directories_are_created_only_inside_the_input_root(bench: Bench) -> None:
    outside = bench.directory / "outside"
    outside.mkdir()
    layer = bench.layer({"file": ""})
    os.symlink(outside, f"{layer}/out")
    seen = await bench.run("true", layers=[layer], directories=["out/new"])
    assert seen.process_result.exit_code == 126
    assert "directories" in seen.process_result.problem
    assert list(outside.iterdir()) == []


async def variables_of_the_action_dont_affect_bwrap_and_supervisor(bench: Bench) -> None:
    """The loader complains once, for the action, and not for bwrap or the supervisor."""
    noise = {"PATH": PATH, "LD_PRELOAD": f"{CACHES}/evil.so", "PYTHONHOME": "/nowhere"}
    seen = await bench.run("true", environment=noise)
    assert seen.process_result.exit_code == 0
    assert seen.stderr.count(b"evil.so") == 1


async def the_input_root_has_the_same_path_in_every_action(bench: Bench) -> None:
    seen = await asyncio.gather(*(bench.shell("pwd -P") for _ in range(4)))
    assert {each.stdout.decode().strip() for each in seen} == {INPUT_ROOT}


CASES = cases_in(globals())

if __name__ == "__main__":
    run_cases(CASES)
