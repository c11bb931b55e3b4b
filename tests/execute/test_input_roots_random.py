"""Random input roots, one after the other and concurrently, are as described."""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from contexts import context
from execute.trees import (
    KIB,
    Directory,
    DirectoryWithMode,
    Entry,
    File,
    Link,
    described,
    disk_bytes,
    input_roots,
    project,
    put,
    union,
)
from reapi_local.execute.local.inputs.input_roots import InputRoots
from reapi_local.store.memory import MemoryStore

ANYWHERE = "/dev/shm" if os.path.isdir("/dev/shm") else None

NAMES = st.one_of(
    st.sampled_from(["a", "b", "src", "__init__.py", "x.py", "data"]),
    st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=12),
).filter(lambda name: name not in (".", ".."))
FILES = st.builds(
    File,
    content=st.one_of(
        st.sampled_from([0, 5, 5 * KIB, 70 * KIB, 1025 * KIB]).map(bytes), st.binary(max_size=20)
    ),
    executable=st.booleans(),
    mode=st.sampled_from([None, None, None, 0o600, 0o777]),
)
LINKS = st.builds(Link, st.sampled_from(["a", "../b", "/etc/passwd", "no/such", "."]))
TREES = st.recursive(
    st.dictionaries(NAMES, st.one_of(FILES, LINKS), max_size=12),
    lambda below: st.dictionaries(
        NAMES,
        st.one_of(
            FILES, LINKS, below, st.builds(DirectoryWithMode, below, st.sampled_from([None, 0o700]))
        ),
        max_size=8,
    ),
    max_leaves=12,
)


@settings(max_examples=60)
@given(TREES)
def test_the_union_of_the_layers_is_the_tree(tree: Directory) -> None:
    async def check() -> None:
        store = MemoryStore()
        root = put(store, tree)
        with tempfile.TemporaryDirectory(dir=ANYWHERE) as directory:
            async with input_roots(store, directory) as roots:
                async with roots.hold(context(), root) as layers:
                    assert union(layers) == described(tree)
                assert disk_bytes(directory) <= roots.layers.used_bytes
            async with (
                input_roots(store, directory) as roots,
                roots.hold(context(), root) as layers,
            ):
                assert union(layers) == described(tree)

    asyncio.run(check())


@dataclass(frozen=True)
class Change:
    """A change of the root, and how many held roots are released before it."""

    path: tuple[str, ...]
    entry: Entry | None
    let_go: int
    at_once: bool


TOP = st.sampled_from(
    [(), ("src",), ("src", "python"), *(("src", "python", f"pkg_{n:03}") for n in range(6))]
)
BELOW = st.lists(st.sampled_from(["a", "b", "module_00007.py", "z"]), min_size=1, max_size=3)
PATHS = st.builds(lambda top, below: (*top, *below), TOP, BELOW)
CHANGES = st.builds(
    Change, PATHS, st.one_of(st.none(), FILES, LINKS, TREES), st.integers(0, 4), st.booleans()
)


def changed(tree: Directory, path: tuple[str, ...], entry: Entry | None) -> Directory:
    """The tree with ``entry`` at ``path``, or with nothing there if it is None."""
    name, *rest = path
    result = dict(tree)
    if rest:
        below = tree.get(name)
        inner = below if isinstance(below, dict) else {}
        entry = changed(inner, tuple(rest), entry)
    if entry is None:
        result.pop(name, None)
    else:
        result[name] = entry
    return result


@settings(max_examples=60)
@given(st.lists(CHANGES, max_size=15), st.sampled_from([1, 400 * KIB, 2000 * KIB]))
def test_held_roots_stay_complete_at_any_cache_size(changes: list[Change], max_bytes: int) -> None:
    with tempfile.TemporaryDirectory(dir=ANYWHERE) as directory:
        asyncio.run(hold_in_turn(changes, directory, max_bytes))


async def hold_in_turn(changes: list[Change], directory: str, max_bytes: int) -> None:
    store, tree = MemoryStore(), project(150, 6)
    held: list[tuple[AsyncExitStack, Directory, tuple[str, ...]]] = []
    async with input_roots(store, directory, max_bytes=max_bytes) as roots:
        for change in changes:
            for _ in range(min(change.let_go, len(held))):
                await held.pop(0)[0].aclose()
            tree = changed(tree, change.path, change.entry)
            wanted = [tree, tree, changed(tree, ("z",), File(b"z"))] if change.at_once else [tree]
            held += await asyncio.gather(*(enter(roots, store, each) for each in wanted))
            for _, described_by, layers in held:
                assert union(layers) == described(described_by)
        for stack, _, _ in held:
            await stack.aclose()
        await roots.layers.settle()
        assert disk_bytes(directory) <= roots.layers.used_bytes <= max_bytes


async def enter(
    roots: InputRoots, store: MemoryStore, tree: Directory
) -> tuple[AsyncExitStack, Directory, tuple[str, ...]]:
    """Hold a root until the stack is closed."""
    stack = AsyncExitStack()
    return stack, tree, await stack.enter_async_context(roots.hold(context(), put(store, tree)))
