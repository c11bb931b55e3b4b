"""Holds one input root after the other and prints their numbers, until it is killed.

python killed_input_roots.py DIRECTORY FIRST
"""

from __future__ import annotations

import asyncio
import os
import sys
from itertools import count

from contexts import context
from execute.trees import MIB, Directory, File, Link, input_roots, project, put
from reapi_local.store.memory import MemoryStore

MAX_BYTES = 4 * MIB


def tree_of(number: int) -> Directory:
    """Input root ``number``; it shares most of its files with the previous and the next one."""
    extra = {f"file_{n}": File(b"%d" % (number // 3 * n)) for n in range(40)}
    return {**project(200, 8), "extra": extra, "link": Link("extra"), "big": File(bytes(2 * MIB))}


async def main(directory: str, first: str) -> None:
    store = MemoryStore()
    async with input_roots(store, directory, max_bytes=MAX_BYTES) as roots:
        for number in count(int(first)):
            async with roots.hold(context(), put(store, tree_of(number))):
                os.write(1, b"%d\n" % number)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
