"""Ways to escape from a slot or to affect later actions: none of them works."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from execute.sandbox_helpers import Box, other_box, own_box

OWN = "/reapi/caches"


@pytest.fixture(params=["own", "other"])
async def box(request: pytest.FixtureRequest) -> AsyncIterator[Box]:
    """Of the user who runs the tests, and of an ordinary user."""
    make = own_box if request.param == "own" else other_box
    async with make() as box:
        yield box


def caches_of_others(box: Box) -> Path:
    """A cache with a file to read and a program to execute."""
    cache = Path(box.directories.cache("of-others"))
    (cache / "file").write_text("a secret")
    (cache / "program").write_bytes(Path("/bin/true").read_bytes())
    (cache / "program").chmod(0o755)
    box.directories.give_away(cache)
    return cache


SEND = f"""
import os, socket
server = socket.socket(socket.AF_UNIX)
server.bind("{OWN}/socket")
server.listen()
os.open("{OWN}/ready", os.O_WRONLY)  # a pipe: waits for the other
other, _ = server.accept()
socket.send_fds(other, [b"x"], [os.open("/", os.O_RDONLY), os.open(".", os.O_RDONLY)])
other.recv(1)
"""

RECEIVE = f"""
import os, socket
os.open("{OWN}/ready", os.O_RDONLY)
server = socket.socket(socket.AF_UNIX)
server.connect("{OWN}/socket")
for directory in socket.recv_fds(server, 1, 2)[1]:
    os.fchdir(directory)
    for _ in range(5):
        os.chdir("..")
        print(*os.listdir())
"""


async def test_a_directory_sent_by_an_action_in_another_slot_is_no_way_out() -> None:
    async with own_box() as box:
        own = box.directories.cache("own")
        assert (await box.run("mkfifo", f"{OWN}/ready", caches=own)).exit_code == 0
        shown = (await box.run("python3", "-c", "import os; print(*os.listdir('/'))")).stdout
        _, taken = await asyncio.gather(
            box.run("python3", "-c", SEND, caches=own),
            box.run("python3", "-c", RECEIVE, caches=own),
        )
    assert taken.stderr == ""
    highest = [set(line.split()) for line in taken.stdout.splitlines()]
    assert len(highest) == 10
    assert highest[-1] == highest[0] == set(shown.split())


@pytest.mark.parametrize("way", ["working directory", "directory made beforehand", "program"])
async def test_no_path_of_an_action_reaches_descriptors_of_its_slot(box: Box, way: str) -> None:
    cache = caches_of_others(box)
    layer = box.directories.layer("tree", {"slot": "-> /proc/self/fd"})
    for descriptor in range(3, 30):
        place = f"slot/{descriptor}/.caches/of-others"
        if way == "working directory":
            seen = await box.run("cat", "file", layers=(layer,), working_directory=place)
            assert seen.exit_code == 126, descriptor
        elif way == "program":
            seen = await box.run(f"./{place}/program", layers=(layer,))
            assert seen.exit_code == 127, descriptor
        else:
            await box.run("true", layers=(layer,), directories=(f"{place}/made",))
    assert sorted(path.name for path in cache.iterdir()) == ["file", "program"]


LIMITS = """
import os, resource
names = sorted(name for name in dir(resource) if name.startswith("RLIMIT_"))
print([resource.getrlimit(getattr(resource, name)) for name in names])
"""
LOWER_LIMITS = """
for name in names:
    try:
        resource.prlimit(1, getattr(resource, name), (1000, 1000))
    except PermissionError:
        continue
    print(name)
"""


async def test_an_action_can_t_limit_later_actions(box: Box) -> None:
    before = await box.run("python3", "-c", LIMITS)
    lowered = await box.run("python3", "-c", LIMITS + LOWER_LIMITS)
    assert lowered.stdout == before.stdout
    for _ in range(3):
        assert (await box.run("python3", "-c", LIMITS)).stdout == before.stdout


async def test_an_action_can_still_limit_itself(box: Box) -> None:
    limit = "import os, resource as r; r.prlimit(os.getpid(), r.RLIMIT_NOFILE, (99, 99))"
    seen = await box.run("python3", "-c", f"{limit}; print(r.getrlimit(r.RLIMIT_NOFILE))")
    assert seen.stdout == "(99, 99)\n"


async def test_an_action_can_t_slow_down_later_actions(box: Box) -> None:
    look = "cut -d' ' -f2- /proc/self/autogroup"
    before = await box.run("sh", "-c", look)
    if before.exit_code:
        pytest.skip("this kernel doesn't group processes for its scheduler")
    slow = "for p in 1 self; do echo 19 > /proc/$p/autogroup; renice 19 $p; chrt -i -p 0 $p; done"
    for _ in range(3):
        await box.run("sh", "-c", f"({slow}) 2>/dev/null")
        assert (await box.run("sh", "-c", f"{look}; nice")).stdout == f"{before.stdout}0\n"


async def test_an_action_can_t_take_terminals_from_later_actions(box: Box) -> None:
    await box.run("chmod", "0", "/dev/pts/ptmx")
    opened = await box.run("python3", "-c", "import pty; print(len(pty.openpty()))")
    assert opened.stdout == "2\n"
