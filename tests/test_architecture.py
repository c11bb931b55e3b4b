"""Imports point one way, and each foreign library stays where it belongs."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SERVER = ROOT / "src" / "reapi_local"
PLUGIN = ROOT / "pants-plugins" / "reapi_local_plugin"
LAUNCHER = ROOT / "pants-plugins" / "reapi_local_launcher"

# Each part may import those before it in its own tuple, and itself.
_BASE = ("errors", "clock", "threads", "proto", "protocol")
MAY_IMPORT = {
    "errors": (),
    "clock": (),
    "threads": (),
    "proto": (),
    "protocol": ("errors", "proto"),
    "config": ("errors", "protocol"),
    "access": ("errors", "protocol"),
    "store": _BASE,
    "observe": ("errors", "clock"),
    "execute": (*_BASE, "store", "observe"),
    "rpc": (*_BASE, "config", "access", "store", "observe", "execute"),
    "admin": ("errors", "protocol"),
    "probe": (*_BASE, "observe"),
    "compose": (
        *(*_BASE, "config", "access"),
        *("store", "observe", "execute", "rpc", "admin", "probe"),
    ),
    "cli": ("config", "compose", "probe", "observe"),
    "__main__": ("cli",),
}
BELONGS_TO = {
    "lmdb": {"store"},
    "grpc": {"rpc", "probe"},
    "grpc_health": {"rpc"},
    "grpc_reflection": {"rpc"},
    "pygrpc_native": {"rpc"},
    "starlette": {"admin"},
    "uvicorn": {"admin"},
    "uvloop": {"cli"},
    "blake3": {"protocol"},
}
USES_PANTS = {"register.py", "goals.py", "subsystem.py", "remote_auth.py"}


def modules(root: Path) -> list[Path]:
    return [path for path in root.rglob("*.py") if "_pb2" not in path.name]


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part_of(path: Path) -> str:
    return path.relative_to(SERVER).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules(SERVER), ids=lambda path: str(path.relative_to(SERVER)))
def test_the_servers_imports_point_one_way(path: Path) -> None:
    part = part_of(path)
    for name in imports(path):
        package, _, rest = name.partition(".")
        if package == "reapi_local" and rest != "__version__":
            imported = rest.partition(".")[0]
            assert imported in (part, *MAY_IMPORT[part]), f"{part} must not import {name}"
        assert part in BELONGS_TO.get(package, {part}), f"{package} doesn't belong into {part}"


@pytest.mark.parametrize(
    "path",
    [*modules(PLUGIN), *modules(LAUNCHER)],
    ids=lambda path: str(path.relative_to(PLUGIN.parent)),
)
def test_the_plugin_needs_only_the_standard_library_and_a_few_modules_need_pants(
    path: Path,
) -> None:
    allowed = {*sys.stdlib_module_names, "reapi_local_plugin", "reapi_local_launcher"}
    if path.parent == PLUGIN and path.name in USES_PANTS:
        allowed.add("pants")
    foreign = {name.partition(".")[0] for name in imports(path)} - allowed
    assert not foreign
