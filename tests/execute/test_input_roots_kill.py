"""The process is killed while it writes input roots: incomplete layers are dropped."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

from contexts import context
from execute import killed_input_roots
from execute.killed_input_roots import MAX_BYTES, tree_of
from execute.trees import described, disk_bytes, input_roots, layers_on_disk, put, union
from reapi_local.store.memory import MemoryStore

ROUNDS = 6


def killed_after(roots: int, directory: Path, first: int) -> None:
    """Let another process make ``roots`` input roots, and kill it while it makes the next."""
    command = [sys.executable, killed_input_roots.__file__, str(directory), str(first)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as maker:
        assert maker.stdout
        told = [maker.stdout.readline() for _ in range(roots)]
        maker.kill()
    assert all(told)


async def test_a_killed_process_leaves_no_incomplete_layer(tmp_path: Path) -> None:
    moments, store = random.Random(1), MemoryStore()
    for number in range(ROUNDS):
        first = 100 * number
        roots_made = moments.randrange(1, 30)
        killed_after(roots_made, tmp_path, first)
        async with input_roots(store, tmp_path, max_bytes=MAX_BYTES) as roots:
            await roots.layers.settle()
            records = os.listdir(tmp_path / "records")
            numbers = {os.path.basename(layer) for layer in layers_on_disk(tmp_path)}
            assert {record.partition("-")[0] for record in records} == numbers
            assert disk_bytes(tmp_path) <= roots.layers.used_bytes <= MAX_BYTES
            for made in range(first + roots_made - 1, first + roots_made + 2):
                async with roots.hold(context(), put(store, tree_of(made))) as layers:
                    assert union(layers) == described(tree_of(made))
