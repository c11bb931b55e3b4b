"""Actions that try to escape or to use too much: they are contained, and the slot stays usable."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from execute.sandbox_helpers import Box, other_box, own_box, visible_directory
from reapi_local.execute.sandbox.interface import ActionLimits

MIB = 1024 * 1024
LIMITS = ActionLimits(
    scratch_bytes=64 * MIB, scratch_inodes=2000, processes=64, file_bytes=48 * MIB
)


@pytest.fixture(params=["own", "other"])
async def box(request: pytest.FixtureRequest) -> AsyncIterator[Box]:
    """Of the user who runs the tests, and of an ordinary user."""
    make = own_box if request.param == "own" else other_box
    async with make(limits=LIMITS) as box:
        yield box


async def usable(box: Box) -> bool:
    """Whether actions run, and no process, file or shared memory of the previous action is left."""
    count = "ls /proc | grep -c '^[0-9]'; ls -A /tmp /var/tmp /dev/shm /reapi/home | wc -w"
    seen = await box.run("sh", "-c", f"{count}; ipcs -m | grep -c 0x; true")
    processes, names, shared = seen.stdout.split()
    return (int(processes) <= 6, names, shared) == (True, "4", "0")


async def test_a_daemon_is_killed_at_the_end_of_the_action(box: Box) -> None:
    daemon = "(setsid sh -c 'trap \"\" TERM HUP INT; while :; do sleep 1; done' &) & exit 0"
    assert (await box.run("sh", "-c", daemon)).exit_code == 0
    assert await usable(box)


async def test_an_action_that_kills_all_processes_kills_only_its_own(box: Box) -> None:
    assert (
        await box.run("sh", "-c", "kill -KILL -1; kill -KILL 1; kill -INT 1; exit 7")
    ).exit_code == 7
    assert await usable(box)


async def test_a_fork_bomb_stays_within_the_process_limit(box: Box) -> None:
    bomb = """
import os
read_end, write_end = os.pipe()
if os.fork():
    os.read(read_end, 1)  # until a process can't fork
    os._exit(7)
while True:
    try:
        os.fork()
    except BlockingIOError:
        os.write(write_end, b"x")
"""
    assert (await box.run("python3", "-c", bomb)).exit_code == 7
    assert await usable(box)


async def test_filled_scratch_space_is_reported(box: Box) -> None:
    seen = await box.run(
        "sh", "-c", "for n in 1 2 3; do head -c 30M /dev/zero > /tmp/$n || exit 1; done"
    )
    assert seen.exit_code == 1
    assert seen.limits_exceeded == (
        "it filled the 64 MiB that an action may write; raise scratch_size",
    )
    assert await usable(box)


async def test_all_written_files_count_towards_one_limit(box: Box) -> None:
    places = "/tmp /var/tmp /dev/shm /reapi/home /reapi/root"
    seen = await box.run("sh", "-c", f"for d in {places}; do head -c 16M /dev/zero > $d/x; done")
    assert seen.exit_code != 0
    assert "No space left" in seen.stderr
    assert len(seen.limits_exceeded) == 1


async def test_a_million_files_are_too_many(box: Box) -> None:
    make = "for n in range(1_000_000): open(f'/tmp/{n}', 'w').close()"
    seen = await box.run("python3", "-c", make)
    assert seen.exit_code == 1
    told = "it created all of the 2,000 files that an action may create; raise scratch_inodes"
    assert seen.limits_exceeded == (told,)
    assert await usable(box)


async def test_endless_output_ends_when_the_scratch_space_is_full(box: Box) -> None:
    seen = await box.run("yes")
    assert seen.exit_code == 128 + 13
    assert len(seen.stdout) <= 64 * MIB
    assert seen.limits_exceeded
    assert await usable(box)


async def test_incomplete_output_is_never_a_success(box: Box) -> None:
    write = "trap '' PIPE; while yes 2>/dev/null | head -c 1M 2>/dev/null; do :; done; exit 0"
    seen = await box.run("sh", "-c", write)
    assert seen.exit_code != 0
    assert seen.limits_exceeded


async def test_a_file_over_the_limit_is_reported(box: Box) -> None:
    seen = await box.run("sh", "-c", "exec head -c 60M /dev/zero > /tmp/file")
    assert seen.exit_code == 128 + 25
    told = "it wrote a file of more than 48 MiB; raise action_file_size"
    assert seen.limits_exceeded == (told,)
    assert await usable(box)


async def test_the_cpu_time_of_all_processes_counts() -> None:
    async with own_box(limits=ActionLimits(cpu_seconds=1)) as box:
        seen = await box.run("sh", "-c", "yes > /dev/null & yes > /dev/null & wait")
        assert seen.exit_code == 128 + 9
        told = "it used more than 1 seconds of CPU time; raise action_cpu_seconds"
        assert seen.limits_exceeded == (told,)
        assert await usable(box)


@pytest.mark.parametrize(
    "greedy",
    ["x = bytearray(200 * 2**20)", "open('/tmp/x', 'wb').write(bytes(2**20) * 200)"],
    ids=["memory", "files in memory"],
)
async def test_memory_over_the_limit_is_reported(greedy: str) -> None:
    async with own_box(limits=ActionLimits(memory_bytes=100 * MIB)) as box:
        if box.sandbox.notes:
            pytest.skip(f"no cgroup for memory: {box.sandbox.notes}")
        seen = await box.run("python3", "-c", greedy)
        assert seen.exit_code == 128 + 9
        assert [
            message for message in seen.limits_exceeded if "more than 100 MiB of memory" in message
        ]
        assert await usable(box)
        assert not (await box.run("true")).limits_exceeded


async def test_a_note_says_if_memory_can_t_be_limited() -> None:
    async with other_box(limits=ActionLimits(memory_bytes=100 * MIB)) as box:
        notes = (await box.ask({"start": True}))["notes"]
        assert [note for note in notes if "Delegate=yes" in note]


async def test_an_action_has_no_capability_and_can_t_gain_one(box: Box) -> None:
    status = await box.run("grep", "-E", "^(Cap(Inh|Prm|Eff|Amb)|NoNewPrivs)", "/proc/self/status")
    assert [int(line.split()[1], 16) for line in status.stdout.splitlines()] == [0, 0, 0, 0, 1]
    setuid = [path for path in ("/bin/su", "/usr/bin/passwd") if is_setuid(path)]
    if not setuid:
        pytest.skip("no setuid program here")
    look = f"import os, subprocess; p = subprocess.Popen(['{setuid[0]}'], stdin=subprocess.PIPE)"
    seen = await box.run("python3", "-c", f"{look}; print(os.stat(f'/proc/{{p.pid}}').st_uid != 0)")
    assert seen.stdout.splitlines()[-1] == "True"


async def test_namespaces_can_t_be_created_to_get_capabilities(box: Box) -> None:
    assert (await box.run("unshare", "--user", "true")).exit_code != 0
    assert (await box.run("unshare", "--mount", "true")).exit_code != 0


async def test_the_slot_can_t_be_inspected(box: Box) -> None:
    for path in ("root/", "environ", "maps", "fd/", "mem", "cwd/"):
        seen = await box.run("sh", "-c", f"ls /proc/1/{path} && cat /proc/1/{path} | head -c 1")
        assert seen.stdout.removeprefix(f"/proc/1/{path}").strip() == "", path
    attach = "import ctypes; print(ctypes.CDLL(None).ptrace(16, 1, 0, 0))"
    assert (await box.run("python3", "-c", attach)).stdout == "-1\n"


async def test_kernel_settings_can_t_be_written(box: Box) -> None:
    find = "find /proc/sys /proc/sysrq-trigger /sys -writable ! -type l"
    # Everybody can open it for writing, but writing needs a capability.
    but = "! -path /proc/sys/kernel/ns_last_pid"
    for network in (False, True):
        seen = await box.run("sh", "-c", f"{find} {but} 2>/dev/null | head -3", network=network)
        assert seen.stdout == ""
    assert (await box.run("sh", "-c", "echo 1 > /proc/sys/kernel/ns_last_pid")).exit_code != 0


async def test_processes_of_the_host_can_t_be_seen(box: Box) -> None:
    seen = await box.run("sh", "-c", "ls -d /proc/[0-9]* | wc -l")
    assert int(seen.stdout) < 8
    assert (await box.run("sh", "-c", f"kill -0 {os.getpid()}")).exit_code != 0


@pytest.mark.parametrize("network", [False, True])
async def test_abstract_sockets_of_the_host_can_t_be_reached(box: Box, network: bool) -> None:
    name = f"reapi-local-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{name}")
        server.listen()
        connect = f"import socket; socket.socket(socket.AF_UNIX).connect('\\0{name}')"
        seen = await box.run("python3", "-c", connect, network=network)
    if network and "PermissionError" not in seen.stderr and not kernel_blocks_abstract_sockets():
        pytest.skip("this kernel can't keep processes from abstract sockets")
    assert seen.exit_code != 0


async def test_an_action_still_reaches_its_own_abstract_sockets(box: Box) -> None:
    talk = (
        "import socket; server = socket.socket(socket.AF_UNIX); server.bind('\\0own');"
        "server.listen(); socket.socket(socket.AF_UNIX).connect('\\0own'); print('reached')"
    )
    assert (await box.run("python3", "-c", talk, network=True)).stdout == "reached\n"


@pytest.mark.parametrize(
    "call", ["keyctl", "perf_event_open", "bpf", "userfaultfd", "io_uring_setup"]
)
async def test_system_calls_on_the_deny_list_are_refused(box: Box, call: str) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("this test has the system call numbers of x86-64")
    numbers = {"keyctl": 250, "perf_event_open": 298, "bpf": 321, "userfaultfd": 323}
    number = numbers.get(call, 425)
    ask = f"import ctypes; l = ctypes.CDLL(None, use_errno=True); l.syscall({number}, 0, 0, 0, 0)"
    seen = await box.run("python3", "-c", f"{ask}; print(ctypes.get_errno())")
    assert seen.stdout == "1\n"


async def test_32_bit_programs_run_if_the_kernel_supports_them(box: Box) -> None:
    exit_with_7 = bytes.fromhex("b801000000bb07000000cd80")  # mov eax, 1; mov ebx, 7; int 0x80
    if os.uname().machine != "x86_64":
        pytest.skip("a program of i386")
    layer = Path(box.directories.layer("program", {"placeholder": ""}))
    (layer / "exit-7").write_bytes(elf_of_32_bits(exit_with_7))
    (layer / "exit-7").chmod(0o755)
    box.directories.give_away(layer)
    process = await asyncio.create_subprocess_exec(layer / "exit-7")
    expected = await process.wait()
    assert (await box.run("./exit-7", layers=(str(layer),))).exit_code == expected


async def test_all_visible_host_directories_are_read_only(box: Box) -> None:
    layer = box.directories.layer("tree", {"file": "as ever"})
    write = (
        "for d in / /etc /usr /var /opt /sys /dev /proc /reapi /run; do"
        " touch $d/reapi-local-was-here 2>/dev/null && echo $d; done; true"
    )
    assert (await box.run("sh", "-c", write, layers=(layer,))).stdout == ""


async def test_an_action_can_t_reach_layers_or_the_caches_of_others(box: Box) -> None:
    layer = box.directories.layer("a-layer-with-a-name", {"file": "as ever"})
    box.directories.cache("a-cache-of-others")
    own = box.directories.cache("own")
    seek = "cat /proc/self/mountinfo; find / -xdev -name 'a-*-with-a-name' -o -name 'a-cache-of*'"
    seen = await box.run("sh", "-c", f"{seek} 2>/dev/null", layers=(layer,), caches=own)
    assert "/a-cache-of-others" not in seen.stdout
    assert "\n/" not in seen.stdout


async def test_only_a_few_harmless_devices_exist(box: Box) -> None:
    seen = await box.run("sh", "-c", "stat -c '%n %F' /dev/* /dev/*/* | grep special")
    names = {line.split()[0].removeprefix("/dev/") for line in seen.stdout.splitlines()}
    assert names == {"full", "null", "pts/ptmx", "random", "tty", "urandom", "zero"}
    make = "mknod /tmp/disk b 8 0"
    assert (await box.run("sh", "-c", make)).exit_code != 0
    assert (await box.run("python3", "-c", "import pty; print(len(pty.openpty()))")).stdout == "2\n"


@pytest.mark.parametrize("make", [own_box, other_box], ids=["own", "other"])
async def test_hidden_directories_are_empty(make: object) -> None:
    owner = os.getuid()
    with visible_directory(owner) as directory:
        (directory / "data").mkdir()
        (directory / "data" / "token").write_text("a secret")
        (directory / "single").write_text("a secret")
        (directory / "open").write_text("no secret")
        hidden = (str(directory / "data"), str(directory / "single"))
        async with make(hidden=hidden) as box:  # type: ignore[operator]
            seen = await box.run("sh", "-c", f"cd {directory}; ls; ls data; cat single open")
    assert seen.stdout == "data\nopen\nsingle\nno secret"


async def test_the_server_s_directories_work_if_closed_and_below_a_visible_directory() -> None:
    with visible_directory(os.getuid()) as directory:
        async with own_box(hidden=(str(directory),), base=directory) as box:
            directory.chmod(0o700)
            layer, cache = (
                box.directories.layer("tree", {"file": "an input"}),
                box.directories.cache("cache"),
            )
            look = f"cat file; touch /reapi/caches/x; ls -A {directory}; cat /proc/self/mountinfo"
            seen = await box.run("sh", "-c", look, layers=(layer,), caches=cache)
            assert seen.exit_code == 0
            content, *mounts = seen.stdout.splitlines()
            assert content.startswith("an input")
            places = [line.split()[4] for line in (content, *mounts) if " - " in line]
            assert [place for place in places if place.startswith(f"{directory}/")] == []


async def test_shared_memory_of_an_action_is_removed(box: Box) -> None:
    make = "import ctypes; print(ctypes.CDLL(None).shmget(4321, 4096, 0o1666))"
    assert int((await box.run("python3", "-c", make)).stdout) >= 0
    assert await usable(box)


async def test_the_oom_killer_prefers_the_action_to_its_slot(box: Box) -> None:
    # The slot has the raised score, too, until it has started the action.
    wait = "until test $(cat /proc/1/oom_score_adj) -lt $(cat /proc/self/oom_score_adj); do :; done"
    assert (await box.run("sh", "-c", wait)).exit_code == 0


async def test_core_files_are_not_written(box: Box) -> None:
    seen = await box.run("sh", "-c", "ulimit -H -c; sh -c 'kill -SEGV $$'; echo $?; ls")
    assert seen.stdout == f"0\n{128 + 11}\n"


def is_setuid(path: str) -> bool:
    return os.path.exists(path) and bool(os.stat(path).st_mode & stat.S_ISUID)


def kernel_blocks_abstract_sockets() -> bool:
    release = os.uname().release.split(".")
    return (int(release[0]), int(release[1])) >= (6, 12)


def elf_of_32_bits(code: bytes) -> bytes:
    """The smallest program file: header, one segment, code."""
    base, size = 0x08048000, 52 + 32 + len(code)
    identification = b"\x7fELF\x01\x01\x01" + bytes(9)
    numbers = (2, 3), (1, base + 84, 52, 0, 0), (52, 32, 1, 0, 0, 0)
    header = identification + b"".join(
        b"".join(number.to_bytes(width, "little") for number in group)
        for width, group in zip((2, 4, 2), numbers, strict=True)
    )
    segment = (1, 0, base, base, size, size, 5, 4096)
    return header + b"".join(number.to_bytes(4, "little") for number in segment) + code
