"""Memory of an action ends with it, also if it has passed it on to an action that goes on."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path

import pytest

from execute.sandbox_bench import Witness
from execute.sandbox_helpers import OwnBox, own_box
from execute.slot_driver import Seen
from patience import PATIENCE_S
from reapi_local.execute.sandbox.interface import ActionLimits, SandboxError

MIB = 1024 * 1024

# Each makes `held`, from which nobody but the holder has memory when the giver has ended.
HOLD = {
    "a socket that is read": """
import socket
server = socket.socket(socket.AF_UNIX)
server.bind("socket")
server.listen()
tell()
connection, _ = server.accept()
held = socket.recv_fds(connection, 1, 9)
""",
    "a socket that nobody reads": """
import socket
held = socket.socket(socket.AF_UNIX)
held.bind("socket")
held.listen()
tell()
""",
    "a pipe": """
import os
os.mkfifo("pipe")
held = os.open("pipe", os.O_RDWR)
tell()
""",
    "a TCP connection": """
import socket
held = socket.create_server(("127.0.0.1", 0))
with open("port", "w") as file:
    file.write(str(held.getsockname()[1]))
tell()
""",
}
WAIT = """
import signal
while True:
    signal.pause()
"""
TELL = """
import os
os.chdir("/reapi/caches")
def tell():
    with open("listening", "w") as pipe:
        pipe.write("up\\n")
"""
SEND = """
import socket
giver = socket.socket(socket.AF_UNIX)
giver.connect("socket")
socket.send_fds(giver, [b"x"], [memory, witness])
"""
GIVE = {
    "a memfd": f"""
memory = os.memfd_create("memory")
fill(memory)
{SEND}""",
    "a deleted file": f"""
memory = os.open("/tmp/memory", os.O_RDWR | os.O_CREAT)
os.unlink("/tmp/memory")
fill(memory)
{SEND}""",
    "large pages": """
import ctypes, fcntl, mmap
pipe = os.open("pipe", os.O_RDWR)
fcntl.fcntl(pipe, 1031, 1 << 20)  # F_SETPIPE_SZ
large = mmap.mmap(-1, 70 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
large.madvise(14)  # MADV_HUGEPAGE
start = ctypes.addressof(ctypes.c_char.from_buffer(large))
for at in range(-start % (2 << 20), 68 << 20, 2 << 20):
    large[at] = 1
    piece = (ctypes.c_size_t * 2)(start + at, 1)
    assert ctypes.CDLL(None).vmsplice(pipe, piece, 1, 0) == 1
""",
    "single bytes of pages": """
import socket
giver = socket.socket()
giver.connect(("127.0.0.1", int(open("port").read())))
memory = os.memfd_create("memory")
fill(memory)
reader, writer = os.pipe()
for at in range(0, 80 << 20, 4096):
    os.splice(memory, writer, 1, offset_src=at)
    os.splice(reader, giver.fileno(), 1)
""",
}
WITNESS = """
import os
os.chdir("/reapi/caches")
witness = os.open("passed", os.O_WRONLY)
os.write(witness, b"up\\n")
def fill(file):
    for _ in range(80):
        os.write(file, bytes(1 << 20))
"""
USE = "import os; open('/tmp/file', 'wb').write(bytes(40 << 20)); print('used')"


@pytest.fixture
async def box() -> AsyncIterator[OwnBox]:
    async with own_box(count=4, limits=ActionLimits(memory_bytes=100 * MIB)) as box:
        if any("memory" in note for note in box.sandbox.notes):
            pytest.skip(f"no cgroup for memory: {box.sandbox.notes}")
        yield box


@pytest.mark.parametrize(
    ("hold", "give"),
    [
        ("a socket that is read", "a memfd"),
        ("a socket that nobody reads", "a deleted file"),
        ("a pipe", "large pages"),
        ("a TCP connection", "single bytes of pages"),
    ],
)
async def test_what_an_action_passed_on_is_freed_at_its_end(
    box: OwnBox, hold: str, give: str
) -> None:
    network = "TCP" in hold
    cache = Path(box.directories.cache("holder"))
    givers_cache = Path(box.directories.cache("giver")) if network else cache
    listening, passed = Witness(cache / "listening"), Witness(givers_cache / "passed")

    def run(program: str, caches: Path) -> Coroutine[None, None, Seen]:
        return box.run("python3", "-c", program, caches=str(caches), network=network)

    holder = asyncio.create_task(run(TELL + HOLD[hold] + WAIT, cache))
    stop, own = asyncio.Event(), box.directories.cache("bystander")
    bystander = asyncio.create_task(box.run("sleep", "1000", caches=own, stop=stop))
    async with asyncio.timeout(PATIENCE_S):
        await listening.sees_it_start()
        if network:
            shutil.copy(cache / "port", givers_cache / "port")
        given = await run(WITNESS + GIVE[give], givers_cache)
        assert (given.exit_code, given.limits_exceeded) == (0, ()), given.stderr
        await passed.sees_it_start()
        await passed.sees_all_end()
        with pytest.raises(SandboxError, match="memory of an action that had ended was still held"):
            await holder
        for _ in range(3):
            used = await run(USE, givers_cache)
            assert (used.stdout, used.limits_exceeded) == ("used\n", ())
        assert not bystander.done()
        stop.set()
        assert (await bystander).stopped
    for witness in (listening, passed):
        witness.close()


async def test_named_caches_may_be_in_memory() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as base:
        limits = ActionLimits(memory_bytes=100 * MIB)
        async with own_box(limits=limits, base=Path(base)) as box:
            cache = box.directories.cache("own")
            write = "head -c 60M /dev/zero >/reapi/caches/$0; readlink /proc/self/ns/user"
            slots = {
                (await box.run("sh", "-c", write, "file", caches=cache)).stdout for _ in range(2)
            }
    assert len(slots) == 1


async def test_a_slot_stays_when_its_action_frees_its_memory(box: OwnBox) -> None:
    leave = f"{USE}; print(os.readlink('/proc/self/ns/user'))"
    cache = box.directories.cache("own")
    slots = set()
    for _ in range(3):
        seen = await box.run("python3", "-c", leave, caches=cache)
        assert seen.exit_code == 0, seen.stderr
        slots.add(seen.stdout)
    assert len(slots) == 1
