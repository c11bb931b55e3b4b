"""Imports point one way, and each foreign library stays where it belongs."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SERVER = ROOT / "src" / "reapi_local"
CONTRACT = ROOT / "src" / "reapi_contract"
PLUGIN = ROOT / "pants-plugins" / "reapi_local_plugin"
LAUNCHER = ROOT / "pants-plugins" / "reapi_local_launcher"

# Each part may import itself and those that are named with it.
_PURE = ("errors", "clock", "threads", "proto", "protocol", "access", "context", "events")
SERVER_PARTS = {
    "errors": (),
    "clock": (),
    "threads": (),
    "proto": (),
    "protocol": ("errors", "proto"),
    "access": ("errors", "protocol"),
    "context": ("access", "proto"),
    "events": ("context", "protocol"),
    "config": ("errors", "protocol"),
    "tls": (),
    "store": _PURE,
    "observe": _PURE,
    "inspect": (*_PURE, "store"),
    "journal": (*_PURE, "store"),
    "explain": (*_PURE, "store", "journal", "inspect"),
    "execute": (*_PURE, "store"),
    "rpc": (*_PURE, "config", "store", "execute", "tls"),
    "admin": ("errors", "protocol", "access", "inspect"),
    "probe": _PURE,
    "client": (*_PURE, "store", "execute", "inspect", "probe"),
    "compose": (
        *(*_PURE, "config", "store", "journal", "explain", "observe", "execute"),
        *("rpc", "admin", "probe", "tls", "inspect", "client"),
    ),
    "cli": ("client", "config", "observe", "compose", "probe", "tls"),
    "__main__": ("cli",),
}
_BLOB_STORE = ("blob_store", "action_cache")
_READ_AND_WRITE = ("disk_errors", "verification", "reading", "writing")
WINGS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "": SERVER_PARTS,
    # Decorators know the contracts alone, and what stores on disk knows no decorator.
    "store": {
        "blob_store": (),
        "action_cache": (),
        "disk_errors": (),
        "verification": (),
        "reading": ("blob_store",),
        "writing": ("disk_errors", "verification"),
        "memory": (*_BLOB_STORE, *_READ_AND_WRITE),
        "completeness": _BLOB_STORE,
        "compressed": ("blob_store",),
        "observed": _BLOB_STORE,
        "local": (*_BLOB_STORE, *_READ_AND_WRITE),
    },
    "store/local": {
        "index": (),
        "large_files": (),
        "rotation": (),
        "leases": (),
        "verified_files": (),
        "committer": ("index",),
        "generation": ("index", "large_files"),
        "generation_list": ("committer", "generation", "index", "rotation"),
        "eviction": (
            *("generation", "generation_list", "index", "large_files"),
            *("leases", "rotation"),
        ),
        "capacity": ("eviction", "generation", "generation_list", "leases", "rotation"),
        "generation_store": (
            *("capacity", "generation", "generation_list", "index", "large_files"),
            *("leases", "rotation", "verified_files"),
        ),
        "generation_results": (
            *("eviction", "generation", "generation_store", "index"),
            "rotation",
        ),
    },
    "execute": {
        "remove_tree": (),
        "inline_request": (),
        "clients": (),
        "executor": ("inline_request",),
        "job": ("clients",),
        "queue": ("job",),
        "sandbox": ("remove_tree",),
        "responses": (),
        "deferred_executor": ("executor",),
        "local": (
            *("clients", "remove_tree", "executor", "inline_request", "job", "queue"),
            *("responses", "sandbox"),
        ),
    },
    "execute/queue": {
        "operation_table": (),
        "fair_queue": ("operation_table",),
        "scheduler": ("fair_queue", "operation_table"),
    },
    "execute/local": {
        "open_beneath": (),
        "host_platform": (),
        "policy": ("host_platform",),
        "inputs": (),
        "output_sizes": (),
        "outputs": ("open_beneath", "output_sizes"),
        "named_caches": (),
        "process_environment": ("named_caches", "policy"),
        "resolver": ("inputs", "policy"),
        "runner": ("inputs", "outputs", "process_environment"),
        "local_executor": ("resolver", "runner"),
    },
    # Two families of sandboxes that know nothing of each other.
    "execute/sandbox": {
        "action_paths": (),
        "interface": (),
        "choose": ("interface",),
        "limit_messages": ("interface",),
        "report_checks": (),
        "linux": (),
        "control_terminal": (),
        "stdio_capture": ("linux",),
        "closed_ports": ("linux",),
        "host": ("action_paths", "interface"),
        "slot": (
            *("action_paths", "interface", "limit_messages", "linux", "host"),
            *("report_checks", "stdio_capture", "closed_ports", "control_terminal"),
        ),
        "supervised": (
            *("action_paths", "interface", "limit_messages", "linux", "host"),
            *("report_checks", "stdio_capture", "closed_ports", "control_terminal"),
        ),
    },
}
# Only the composition may say which one is used.
CONCRETE = ("store.local", "store.memory", "execute.local", "execute.sandbox.slot")
BELONGS_TO = {
    "lmdb": {"store"},
    "cachetools": {"store", "execute", "journal"},
    "sqlite3": {"explain", "journal"},
    "cryptography": {"tls"},
    "grpc": {"rpc", "probe", "client"},
    "grpc_health": {"rpc"},
    "grpc_reflection": {"rpc"},
    "msgspec": {"config", "store"},
    "prometheus_client": {"observe"},
    "pygrpc_native": {"rpc"},
    "starlette": {"admin"},
    "uvicorn": {"admin"},
    "uvloop": {"cli"},
    "blake3": {"protocol"},
    "zstandard": {"protocol"},
}
USES_PANTS = {
    *("register.py", "goals.py", "subsystem.py", "remote_auth.py"),
    *("reporter.py", "live_inputs.py"),
}


def modules(root: Path) -> list[Path]:
    return [path for path in root.rglob("*.py") if "_pb2" not in path.name]


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part_of(path: Path, wing: str = "") -> str:
    return path.relative_to(SERVER / wing).parts[0].removesuffix(".py")


def imported_parts(path: Path, wing: str = "") -> Iterator[str]:
    """The parts of a wing that a module imports something of."""
    package = ".".join(("reapi_local", *filter(None, wing.split("/")))) + "."
    for name in imports(path):
        if name.startswith(package) and name != "reapi_local.__version__":
            yield name.removeprefix(package).partition(".")[0]


@pytest.mark.parametrize("wing", WINGS, ids=lambda wing: wing or "server")
def test_the_servers_imports_point_one_way(wing: str) -> None:
    allowed = WINGS[wing]
    for path in modules(SERVER / wing):
        part = part_of(path, wing)
        if part == "__init__":
            continue
        wrong = set(imported_parts(path, wing)) - {part, *allowed[part]}
        assert not wrong, f"{path.relative_to(SERVER)} must not import {wrong}"


@pytest.mark.parametrize("wing", WINGS, ids=lambda wing: wing or "server")
def test_every_part_has_its_rule(wing: str) -> None:
    parts = {part_of(path, wing) for path in modules(SERVER / wing)}
    assert parts - {"__init__"} == set(WINGS[wing]) - ({"proto"} - parts)


def test_only_the_composition_names_concrete_classes() -> None:
    for path in modules(SERVER):
        own = ".".join(path.relative_to(SERVER).with_suffix("").parts)
        if part_of(path) == "compose":
            continue
        for name in imports(path):
            inner = name.removeprefix("reapi_local.")
            for concrete in CONCRETE:
                is_inside = own.startswith(concrete)
                assert is_inside or not inner.startswith(f"{concrete}."), f"{own} names {name}"


def test_each_foreign_library_stays_in_its_part() -> None:
    for path in modules(SERVER):
        for name in imports(path):
            package = name.partition(".")[0]
            part = part_of(path)
            assert part in BELONGS_TO.get(package, {part}), f"{package} doesn't belong into {part}"


@pytest.mark.parametrize("path", modules(CONTRACT), ids=lambda path: str(path.name))
def test_the_contract_needs_the_standard_library_alone(path: Path) -> None:
    foreign = {name.partition(".")[0] for name in imports(path)}
    assert not foreign - {*sys.stdlib_module_names, "reapi_contract"}


@pytest.mark.parametrize(
    "path",
    [*modules(PLUGIN), *modules(LAUNCHER)],
    ids=lambda path: str(path.relative_to(PLUGIN.parent)),
)
def test_the_plugin_needs_only_the_standard_library_and_a_few_modules_need_pants(
    path: Path,
) -> None:
    allowed = {*sys.stdlib_module_names, "reapi_contract", "reapi_local_launcher"}
    is_cli = path.is_relative_to(LAUNCHER / "cli")
    if path.is_relative_to(PLUGIN) or is_cli:
        allowed.add("reapi_local_plugin")
    if path.parent == PLUGIN and path.name in USES_PANTS:
        allowed.add("pants")
    for name in imports(path):
        assert name.partition(".")[0] in allowed, name
        if is_cli and name.startswith("reapi_local_plugin."):
            assert name.startswith("reapi_local_plugin.pants_config"), name
