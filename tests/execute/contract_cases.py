"""Test cases for every sandbox. Each one is a coroutine that gets a :class:`Bench`."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

from execute.port_attacks import PLAIN_WAYS, TRY_ALL_WAYS_TO_A_PORT
from execute.sandbox_bench import PATH, Bench, cases_in, run_cases, snapshot
from execute.socket_attacks import MAKE_SOCKETS_OF_ALL_FAMILIES
from reapi_local.execute.sandbox.action_paths import CACHES
from reapi_local.execute.sandbox.interface import ActionLimits, SandboxError


async def the_exit_code_is_that_of_the_process(bench: Bench) -> None:
    for code in (0, 1, 126, 127, 255):
        ran = await bench.shell(f"exit {code}")
        assert (ran.process_result.exit_code, ran.process_result.problem) == (code, "")


async def a_signal_gives_128_plus_its_number(bench: Bench) -> None:
    for number in (1, 2, 3, 6, 9, 11, 13, 15):
        ran = await bench.shell(f"kill -{number} $$")
        assert ran.process_result.exit_code == 128 + number


async def the_environment_is_exactly_what_was_given(bench: Bench) -> None:
    given = {"PATH": PATH, "EMPTY": "", "WORDS": "a 'b' \"c\"\nd=e", "É": "é"}
    ran = await bench.run("env", "-0", environment=given)
    seen = dict(line.split("=", 1) for line in ran.stdout.decode().split("\0") if line)
    assert seen == given


async def arguments_arrive_unchanged(bench: Bench) -> None:
    given = ("", " ", "*", "a\nb", "$HOME", "--", "é", "x" * 100_000)
    ran = await bench.shell(r'printf "%s\0" "$@"', *given)
    assert ran.stdout.decode().split("\0")[:-1] == list(given)


async def two_megabytes_of_arguments_arrive(bench: Bench) -> None:
    ran = await bench.shell("cat /proc/$$/cmdline | wc -c", *["x" * 100_000] * 20)
    assert int(ran.stdout) > 2_000_000


async def it_starts_in_the_input_root(bench: Bench) -> None:
    ran = await bench.shell('test "$(pwd -P)" = "$1"', bench.sandbox.root)
    assert ran.process_result.exit_code == 0


async def it_starts_in_its_working_directory(bench: Bench) -> None:
    layer = bench.layer({"a/b/file": "text"})
    ran = await bench.shell(
        'test "$(pwd -P)" = "$1/a/b" && cat file',
        bench.sandbox.root,
        working_directory="a/b",
        layers=[layer],
    )
    assert ran.stdout == b"text"


async def files_in_its_root_can_be_read_from_outside(bench: Bench) -> None:
    ran = await bench.shell(
        "mkdir -p a/b; echo one > top; echo two > a/b/nested", reads=["top", "a/b/nested"]
    )
    assert ran.files == {"top": b"one\n", "a/b/nested": b"two\n"}


async def stdout_and_stderr_are_separate_and_complete(bench: Bench) -> None:
    ran = await bench.shell("seq 1000000; seq 2000000 >&2")
    assert ran.stdout == b"".join(b"%d\n" % number for number in range(1, 1_000_001))
    assert ran.stderr == b"".join(b"%d\n" % number for number in range(1, 2_000_001))


async def writing_to_dev_stderr_loses_nothing(bench: Bench) -> None:
    ran = await bench.shell(
        "echo one >&2; echo two > /dev/stderr; echo three >&2; echo four > /dev/stdout"
    )
    assert (ran.stdout, ran.stderr) == (b"four\n", b"one\ntwo\nthree\n")


async def standard_input_is_empty(bench: Bench) -> None:
    assert (await bench.shell("cat; echo end")).stdout == b"end\n"


async def a_program_is_found_on_the_path_it_was_given(bench: Bench) -> None:
    layer = bench.layer({"tools/mine": "#!/bin/sh\necho mine"})
    os.chmod(Path(layer, "tools/mine"), 0o755)
    ran = await bench.run("mine", environment={"PATH": "/nowhere:tools"}, layers=[layer])
    assert ran.stdout == b"mine\n"


async def a_program_is_found_from_its_working_directory(bench: Bench) -> None:
    layer = bench.layer({"a/b/mine": "#!/bin/sh\necho mine"})
    os.chmod(Path(layer, "a/b/mine"), 0o755)
    for program in ("./mine", "../b/mine"):
        ran = await bench.run(program, layers=[layer], working_directory="a/b")
        assert ran.stdout == b"mine\n"


async def a_missing_program_gives_127_and_is_named(bench: Bench) -> None:
    layer = bench.layer({"orphan": "#!/no/such/interpreter\n", "file": ""})
    os.chmod(Path(layer, "orphan"), 0o755)
    for program in ("missing", "./missing", "/no/such/thing", "./orphan", "./file/below"):
        ran = await bench.run(program, layers=[layer])
        assert ran.process_result.exit_code == 127
        assert program.removeprefix("./") in ran.process_result.problem
        assert (ran.stdout, ran.stderr) == (b"", b"")


async def a_file_that_cant_be_executed_gives_126_and_is_named(bench: Bench) -> None:
    layer = bench.layer({"text": "hello", "strange": "\x00\x01\x02", "directory/file": ""})
    os.chmod(Path(layer, "strange"), 0o755)
    for program in ("./text", "./strange", "./directory"):
        ran = await bench.run(program, layers=[layer])
        assert ran.process_result.exit_code == 126
        assert program.removeprefix("./") in ran.process_result.problem


async def a_missing_working_directory_gives_126_and_is_named(bench: Bench) -> None:
    ran = await bench.run("true", working_directory="not/there")
    assert ran.process_result.exit_code == 126
    assert "not/there" in ran.process_result.problem


async def an_invalid_argument_gives_126(bench: Bench) -> None:
    ran = await bench.run("echo", "a\0b")
    assert ran.process_result.exit_code == 126
    assert ran.process_result.problem


async def two_thousand_files_are_present(bench: Bench) -> None:
    layer = bench.layer({f"d{number % 40}/f{number}": f"{number}" for number in range(2000)})
    ran = await bench.shell("cat d*/f* | wc -c; find . -type f | wc -l", layers=[layer])
    assert ran.stdout.split() == [b"%d" % sum(len(str(n)) for n in range(2000)), b"2000"]


async def the_input_root_is_the_union_of_the_layers(bench: Bench) -> None:
    first = bench.layer({"shared/one": "1", "only/first": "f"})
    second = bench.layer({"shared/two": "2", "shared/deep/three": "3"})
    ran = await bench.shell("cat */* */*/*; echo x > shared/new", layers=[first, second])
    assert ran.stdout == b"f123"
    assert ran.stderr == b"" or b"directory" in ran.stderr


async def modes_times_and_symlinks_are_preserved(bench: Bench) -> None:
    layer = bench.layer({"run": "#!/bin/sh", "plain": "", "old": ""})
    os.chmod(Path(layer, "run"), 0o755)
    os.chmod(Path(layer, "plain"), 0o644)
    os.utime(Path(layer, "old"), (1_000_000_000, 1_000_000_000))
    os.symlink("run", f"{layer}/relative")
    os.symlink("../no/where", f"{layer}/broken")
    os.symlink("/etc/passwd", f"{layer}/absolute")
    ran = await bench.shell(
        "stat -c '%n %a %F' run plain; stat -c %Y old; readlink relative broken absolute",
        layers=[layer],
    )
    assert ran.stdout.decode().splitlines() == [
        "run 755 regular file",
        "plain 644 regular empty file",
        "1000000000",
        "run",
        "../no/where",
        "/etc/passwd",
    ]


async def an_action_cant_change_layers(bench: Bench) -> None:
    layer = bench.layer({"a": "first", "b": "second", "directory/c": "third", "gone/d": "fourth"})
    os.symlink("a", f"{layer}/link")
    before = snapshot(layer)
    ran = await bench.shell(
        "echo more >> a; echo new > b; chmod 777 directory/c; chmod 700 directory;"
        "rm -r gone; ln -f a hard; echo through > link; touch -d @1 directory/c; cat a hard",
        layers=[layer],
    )
    assert (ran.stdout, ran.stderr) == (b"through\nthrough\n", b"")
    assert snapshot(layer) == before


async def directories_are_created_before_the_start(bench: Bench) -> None:
    layer = bench.layer({"there/file": ""})
    ran = await bench.shell(
        "touch there/new/a made/b/c; echo done", layers=[layer], directories=["there/new", "made/b"]
    )
    assert (ran.stdout, ran.stderr) == (b"done\n", b"")


async def an_action_sees_nothing_of_the_previous_one(bench: Bench) -> None:
    home = {"PATH": PATH, "HOME": "/reapi/home"}
    places = ". $HOME" + (" /tmp /var/tmp /dev/shm" if bench.is_isolated else "")
    left = await bench.shell(f"for place in {places}; do touch $place/left; done", environment=home)
    assert left.stderr == b""
    found = await bench.shell(f"find {places} -name left", environment=home)
    assert (found.stdout, found.stderr) == (b"", b"")


async def caches_are_shared_with_later_actions(bench: Bench) -> None:
    await bench.shell(f"echo kept > {CACHES}/file")
    assert (await bench.shell(f"cat {CACHES}/file")).stdout == b"kept\n"


async def two_actions_run_at_the_same_time(bench: Bench) -> None:
    for name in ("there", "back"):
        os.mkfifo(bench.caches / name)
        os.chmod(bench.caches / name, 0o666)
    bench.give(bench.caches)
    ping = bench.shell(f"echo ping > {CACHES}/there; cat {CACHES}/back")
    pong = bench.shell(f"cat {CACHES}/there; echo pong > {CACHES}/back")
    assert [ran.stdout for ran in await asyncio.gather(ping, pong)] == [b"pong\n", b"ping\n"]


async def times_and_resource_usage_are_reported(bench: Bench) -> None:
    before = time.time_ns()
    ran = await bench.shell("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done")
    process_result = ran.process_result
    assert before <= process_result.started_ns < process_result.ended_ns <= time.time_ns()
    assert process_result.user_seconds + process_result.system_seconds > 0
    assert 100_000 < process_result.max_rss_bytes < 1 << 30
    assert (process_result.stopped, process_result.limits_exceeded) == (False, ())


_FAMILY = """
sh -c 'sleep 1000 & sleep 1000' &
setsid sh -c 'setsid sleep 1000 & sleep 1000' &
(setsid sh -c 'trap "" TERM HUP INT; sleep 1000; sleep 1000' > /dev/null 2>&1 &)
"""


async def sockets_are_of_no_unusual_family(bench: Bench) -> None:
    if not bench.is_isolated:
        return
    usual = {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK}
    for network in (False, True):
        seen = await bench.run("python3", "-c", MAKE_SOCKETS_OF_ALL_FAMILIES, network=network)
        got = {way: set(families) for way, families in json.loads(seen.stdout).items()}
        assert not set().union(*got.values()) - usual, got
        assert {socket.AF_UNIX, socket.AF_INET} <= got["socket"]
        assert got["socketpair"] == {socket.AF_UNIX}
        # Its family is in memory, where a filter can't see it.
        assert not got.get("socketcall")
        assert not got.get("socketcall_for_a_pair")


def _listener() -> socket.socket:
    """On any port, for IPv4 and IPv6; others may bind the same port."""
    address = ("::", 0)
    made = socket.create_server(
        address, family=socket.AF_INET6, dualstack_ipv6=True, reuse_port=True
    )
    made.setblocking(False)
    return made


async def _ways_through(bench: Bench, port: int) -> set[str]:
    program = ("python3", "-c", TRY_ALL_WAYS_TO_A_PORT, str(port))
    ran = await bench.run(*program, network=True)
    assert ran.process_result.exit_code == 0, ran.stderr
    return set(json.loads(ran.stdout))


async def ports_of_the_server_can_be_neither_reached_nor_taken(bench: Bench) -> None:
    if not bench.is_isolated:
        return
    with _listener() as closed, _listener() as unused, _listener() as other:
        ports = [each.getsockname()[1] for each in (closed, unused)]
        unused.close()
        bench.closed_ports = tuple(ports)
        async with bench.limited(ActionLimits()):
            if any("ports of this server" in note for note in bench.sandbox.notes):
                assert _linux() < (6, 7)
                return
            for port in ports:
                assert not (through := await _ways_through(bench, port)), through
            with suppress(BlockingIOError):
                closed.accept()
                raise AssertionError("something came through")
            assert await _ways_through(bench, other.getsockname()[1]) >= PLAIN_WAYS
            connect = f"import socket; socket.create_connection(('127.0.0.1', {ports[0]}))"
            told = await bench.run("python3", "-c", connect, network=True)
            assert b"Permission denied" in told.stderr


def _linux() -> tuple[int, ...]:
    return tuple(int(number) for number in os.uname().release.split(".")[:2])


async def a_stop_kills_the_process_and_its_descendants(bench: Bench) -> None:
    witness, stop = bench.witness(), asyncio.Event()
    script = f"echo begun; {_FAMILY} {witness.script} sleep 1000"
    run = asyncio.create_task(bench.shell(script, stop=stop))
    await witness.sees_it_start()
    stop.set()
    ran = await run
    witness.assert_nothing_lives()
    assert ran.process_result.stopped
    assert ran.process_result.exit_code == 128 + 9
    assert ran.stdout == b"begun\n"
    witness.close()


async def a_stop_before_the_start_stops_the_action(bench: Bench) -> None:
    stop = asyncio.Event()
    stop.set()
    ran = await bench.shell("sleep 1000", stop=stop)
    assert ran.process_result.stopped


async def processes_that_an_action_leaves_running_are_killed(bench: Bench) -> None:
    witness = bench.witness()
    ran = await bench.shell(f"{witness.script} {_FAMILY} echo done; exit 7")
    witness.assert_nothing_lives()
    assert (ran.process_result.exit_code, ran.process_result.stopped, ran.stdout) == (
        7,
        False,
        b"done\n",
    )
    witness.close()


async def a_cancelled_caller_leaves_no_process(bench: Bench) -> None:
    witness = bench.witness()
    run = asyncio.create_task(bench.shell(f"{witness.script} {_FAMILY} sleep 1000"))
    await witness.sees_it_start()
    run.cancel()
    await asyncio.wait([run])
    assert run.cancelled()
    witness.assert_nothing_lives()
    witness.close()
    assert (await bench.shell("echo usable")).stdout == b"usable\n"


async def closing_kills_running_actions(bench: Bench) -> None:
    witness = bench.witness()
    run = asyncio.create_task(bench.shell(f"{witness.script} {_FAMILY} sleep 1000"))
    await witness.sees_it_start()
    await bench.sandbox.close()
    witness.assert_nothing_lives()
    witness.close()
    (result,) = await asyncio.gather(run, return_exceptions=True)
    assert isinstance(result, SandboxError)


async def closed_and_deep_directories_are_deleted(bench: Bench) -> None:
    ran = await bench.shell(
        "mkdir -p closed/inner; touch closed/inner/file; chmod 000 closed/inner closed;"
        "i=0; while [ $i -lt 300 ]; do mkdir dddddddddddddddddddd; cd dddddddddddddddddddd;"
        " i=$((i+1)); done; echo done"
    )
    assert ran.stdout == b"done\n"
    assert (await bench.shell("echo usable; ls -A")).stdout == b"usable\n"
    await bench.sandbox.close()
    assert [path for path in bench.work.rglob("*") if path.is_file()] == []


async def many_actions_leave_no_descriptor_and_no_file(bench: Bench) -> None:
    await bench.shell("true")
    before = set(os.listdir("/proc/self/fd")), sorted(bench.work.rglob("*"))
    for number in range(10):
        await bench.shell("echo $0; touch file", str(number))
    assert (set(os.listdir("/proc/self/fd")), sorted(bench.work.rglob("*"))) == before


CASES = cases_in(globals())

if __name__ == "__main__":
    run_cases(CASES)
