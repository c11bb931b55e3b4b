"""What an action gets from a slot: a process as specified, and its results."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from execute.sandbox_helpers import Box, other_box, own_box


@pytest.fixture(params=["own", "other"])
async def box(request: pytest.FixtureRequest) -> AsyncIterator[Box]:
    """Of the user who runs the tests, and of an ordinary user."""
    make = own_box if request.param == "own" else other_box
    async with make() as box:
        yield box


async def test_output_and_exit_code_are_those_of_the_process(box: Box) -> None:
    seen = await box.run("sh", "-c", "echo out; echo err >&2; exit 3")
    assert (seen.exit_code, seen.stdout, seen.stderr) == (3, "out\n", "err\n")
    assert not seen.problem
    assert not seen.limits_exceeded


async def test_a_signal_gives_128_plus_its_number(box: Box) -> None:
    seen = await box.run("sh", "-c", "kill -TERM $$")
    assert seen.exit_code == 128 + 15


async def test_no_signal_is_ignored_or_blocked_from_the_start(box: Box) -> None:
    seen = await box.run("grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status")
    blocked, ignored = (int(line.split()[1], 16) for line in seen.stdout.splitlines())
    # Signals 32 and 33 belong to the C library, which lets no program change them.
    assert (blocked, ignored & ~(0b11 << 31)) == (0, 0)


async def test_the_environment_is_exactly_the_one_given(box: Box) -> None:
    given = {"A": "1", "B C": "ä=\n", "EMPTY": ""}
    seen = await box.run("/usr/bin/env", "-0", environment=given)
    assert dict(line.split("=", 1) for line in seen.stdout.split("\0") if line) == given


async def test_the_process_has_only_the_three_standard_descriptors(box: Box) -> None:
    listing = (
        "import os; print([fd for fd in range(4096) if os.path.exists(f'/proc/self/fd/{fd}')])"
    )
    seen = await box.run("python3", "-c", listing)
    assert seen.stdout == "[0, 1, 2]\n"


async def test_the_working_directory_is_below_the_input_root(box: Box) -> None:
    layer = box.directories.layer("tree", {"a/b/file": "here"})
    seen = await box.run("sh", "-c", "pwd; cat file", layers=(layer,), working_directory="a/b")
    assert seen.stdout == "/reapi/root/a/b\nhere"


async def test_a_missing_working_directory_is_reported(box: Box) -> None:
    seen = await box.run("true", working_directory="no/such")
    assert seen.exit_code == 126
    assert "no/such" in seen.problem


async def test_directories_are_created_before_the_start(box: Box) -> None:
    layer = box.directories.layer("tree", {"out/old": "x"})
    seen = await box.run(
        *("sh", "-c", "ls -d out/new/deep out/old"),
        layers=(layer,),
        directories=("out/new/deep", "out"),
    )
    assert seen.stdout == "out/new/deep\nout/old\n"


async def test_a_directory_that_can_t_be_created_is_reported(box: Box) -> None:
    layer = box.directories.layer("tree", {"file": "x"})
    seen = await box.run("true", layers=(layer,), directories=("file/below",))
    assert seen.exit_code == 126
    assert "file/below" in seen.problem


async def test_a_bare_name_is_searched_for_on_the_action_s_path(box: Box) -> None:
    script = "#!/bin/sh\necho found $0\n"
    files = {"tools/hello": (script, 0o755), "data/hello": (script, 0o644)}
    layer = box.directories.layer("tools", files)
    path = "/nowhere:/reapi/root/data:/reapi/root/tools"
    seen = await box.run("hello", layers=(layer,), environment={"PATH": path})
    assert seen.stdout == "found /reapi/root/tools/hello\n"


async def test_an_empty_element_of_the_path_is_the_working_directory(box: Box) -> None:
    layer = box.directories.layer("tools", {"dir/hello": ("#!/bin/sh\necho hi\n", 0o755)})
    path = {"PATH": "/usr/bin:"}
    seen = await box.run("hello", layers=(layer,), working_directory="dir", environment=path)
    assert seen.stdout == "hi\n"


async def test_without_path_the_default_directories_are_searched(box: Box) -> None:
    assert (await box.run("true", environment={})).exit_code == 0


async def test_a_relative_program_is_relative_to_the_working_directory(box: Box) -> None:
    layer = box.directories.layer("tools", {"dir/hello": ("#!/bin/sh\necho hi\n", 0o755)})
    seen = await box.run("./hello", layers=(layer,), working_directory="dir")
    assert seen.stdout == "hi\n"


@pytest.mark.parametrize(
    ("program", "exit_code", "told"),
    [
        ("no-such-program", 127, "PATH=/usr/local/bin:/usr/bin:/bin"),
        ("./no-such-program", 127, "doesn't exist"),
        ("/etc/passwd", 126, "Permission denied"),
        ("./lost", 127, "interpreter"),
        ("./text", 126, "#!"),
        ("/usr", 126, "/usr"),
    ],
)
async def test_a_program_that_can_t_be_started_says_why(
    box: Box, program: str, exit_code: int, told: str
) -> None:
    files = {"lost": ("#!/no/such/interpreter\n", 0o755), "text": ("just text\n", 0o755)}
    seen = await box.run(program, layers=(box.directories.layer("tools", files),))
    assert (seen.exit_code, seen.stdout, seen.stderr) == (exit_code, "", "")
    assert told in seen.problem


async def test_arguments_of_two_megabytes_arrive(box: Box) -> None:
    arguments = [f"{number:05}" + "x" * 100_000 for number in range(15)]
    count = "import sys; print(len(sys.argv), sum(map(len, sys.argv)))"
    seen = await box.run("python3", "-c", count, *arguments)
    assert seen.stdout == f"16 {2 + 15 * 100_005}\n"


async def test_too_long_arguments_are_reported(box: Box) -> None:
    seen = await box.run("true", "x" * 200_000)
    assert seen.exit_code == 126
    assert "too long" in seen.problem


async def test_layers_form_one_tree_and_stay_unchanged(box: Box) -> None:
    first = box.directories.layer("first", {"a/one": "1", "a/link": "-> one", "run": ("", 0o755)})
    second = box.directories.layer("second", {"a/two": "2", "b/empty/": ""})
    before = listing(first), listing(second)
    change = (
        "cat a/one a/two a/link; test -x run && test ! -x a/one && test -d b/empty;"
        "echo new > a/one; chmod +x a/two; rm a/link; mv run a/moved; rmdir b/empty; touch b/made"
    )
    seen = await box.run("sh", "-ec", change, layers=(first, second), files=("a/one", "a/two"))
    assert (seen.exit_code, seen.stdout, seen.stderr) == (0, "121", "")
    assert seen.files == {"a/one": "new\n", "a/two": "2"}
    assert (listing(first), listing(second)) == before


async def test_an_action_sees_nothing_of_the_previous_one(box: Box) -> None:
    layer = box.directories.layer("tree", {"file": "as ever"})
    await box.run("sh", "-c", "echo changed > file; touch other", layers=(layer,))
    seen = await box.run("sh", "-c", "cat file; ls", layers=(layer,))
    assert seen.stdout == "as everfile\n"


async def test_a_removed_directory_can_be_created_again_and_is_empty(box: Box) -> None:
    layer = box.directories.layer("tree", {"out/old": "x"})
    seen = await box.run("sh", "-c", "rm -r out && mkdir out && ls -A out", layers=(layer,))
    assert (seen.exit_code, seen.stdout, seen.stderr) == (0, "", "")


async def test_more_layers_than_fit_into_a_page_of_options_are_mounted(box: Box) -> None:
    names = [f"{number:03}" + "n" * 60 for number in range(120)]
    layers = tuple(box.directories.layer(name, {name: ""}) for name in names)
    seen = await box.run("sh", "-c", "ls | wc -l", layers=layers)
    assert seen.stdout == "120\n"


async def test_a_layer_s_name_may_contain_separators_of_mount_options(box: Box) -> None:
    layers = tuple(box.directories.layer(name, {name: ""}) for name in ("a:b", "c,d", "e\\f"))
    seen = await box.run("ls", layers=layers)
    assert seen.stdout == "a:b\nc,d\ne\\f\n"


async def test_without_layers_the_input_root_is_empty_and_writable(box: Box) -> None:
    seen = await box.run("sh", "-c", "ls -A; echo made > file", files=("file",))
    assert (seen.stdout, seen.files) == ("", {"file": "made\n"})


async def test_writing_to_dev_stderr_truncates_nothing(box: Box) -> None:
    seen = await box.run("sh", "-c", "echo one >&2; echo two > /dev/stderr; echo three >&2")
    assert seen.stderr == "one\ntwo\nthree\n"


async def test_large_output_arrives_whole(box: Box) -> None:
    write = "import os\nfor n in range(200_000): os.write(1 + n % 2, b'%099d\\n' % n)"
    seen = await box.run("python3", "-c", write)
    numbers = sorted(map(int, (seen.stdout + seen.stderr).split()))
    assert numbers == list(range(200_000))


async def test_standard_input_is_empty(box: Box) -> None:
    assert (await box.run("cat")).stdout == ""


async def test_an_action_can_look_up_its_user_and_has_a_home(box: Box) -> None:
    look = (
        "import grp, os, pwd;"
        "print(pwd.getpwuid(os.getuid()).pw_uid, grp.getgrgid(os.getgid()).gr_gid)"
    )
    seen = await box.run("sh", "-c", f"id -u; id -g; python3 -c '{look}'")
    user, group, looked_up = seen.stdout.splitlines()
    assert looked_up == f"{user} {group}"
    assert user != "0"
    seen = await box.run("sh", "-c", "touch /reapi/home/x && ls -A /reapi/home")
    assert seen.stdout == "x\n"


async def test_a_cache_is_shared_and_persistent(box: Box) -> None:
    cache = box.directories.cache("of-an-instance")
    await box.run("sh", "-c", "echo kept > /reapi/caches/file", caches=cache)
    seen = await box.run("cat", "/reapi/caches/file", caches=cache)
    assert seen.stdout == "kept\n"
    assert listing(cache) == [(f"{cache}/file", 0o100644, "kept\n")]


async def test_without_a_cache_the_caches_directory_is_read_only(box: Box) -> None:
    seen = await box.run("sh", "-c", "ls -A /reapi/caches; touch /reapi/caches/x")
    assert seen.stdout == ""
    assert "Read-only" in seen.stderr


async def test_what_the_process_used_is_reported(box: Box) -> None:
    seen = await box.run("python3", "-c", "sum(range(10_000_000))")
    assert 0.05 < seen.cpu_seconds <= seen.seconds


async def test_loopback_is_up_without_a_network(box: Box) -> None:
    talk = (
        "import socket; server = socket.create_server(('127.0.0.1', 0));"
        "socket.create_connection(server.getsockname()).send(b'hi');"
        "print(server.accept()[0].recv(2), [name for _, name in socket.if_nameindex()])"
    )
    seen = await box.run("python3", "-c", talk)
    assert seen.stdout == "b'hi' ['lo']\n"


async def test_with_the_network_interfaces_are_the_host_s(box: Box) -> None:
    names = "import socket; print([name for _, name in socket.if_nameindex()])"
    seen = await box.run("python3", "-c", names, network=True)
    assert seen.stdout == f"{[name for _, name in socket.if_nameindex()]}\n"


def listing(top: str) -> list[tuple[str, int, str]]:
    """Every path with its mode and content or symlink target."""
    found = []
    for directory, directories, names in os.walk(top):
        for name in sorted(directories + names):
            path = os.path.join(directory, name)
            if os.path.islink(path):
                content = os.readlink(path)
            else:
                content = "" if os.path.isdir(path) else Path(path).read_text()
            found.append((path, os.lstat(path).st_mode, content))
    return sorted(found)
