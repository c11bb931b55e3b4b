"""Plugin, launcher and contract are valid on every CPython that Pants brings: 3.9 to 3.14."""

from __future__ import annotations

import ast
import os
import subprocess
from collections.abc import Iterator

import pytest

from launcher.interpreters import WITH_PANTS, interpreter
from reapi_local_launcher.cli.init import PACKAGES
from reapi_local_launcher.source import LAUNCHER

PLUGIN = LAUNCHER.with_name("reapi_local_plugin")
VERSIONS = [f"3.{minor}" for minor in range(9, 15)] + ["3.14t"]
_LOAD = """
import importlib, pathlib, sys
packages = [pathlib.Path(path) for path in sys.argv[1].split(":")]
sys.path[:0] = [str(package.parent) for package in packages]
for name in sys.argv[2:]:
    importlib.import_module(name)
for package in packages:
    for path in package.rglob("*.py"):
        compile(path.read_bytes(), str(path), "exec")
assert not {"pants", "reapi_local"} & {*sys.modules}
"""


def modules() -> Iterator[str]:
    """The modules of all three packages that do not import Pants."""
    for package in PACKAGES:
        for path in sorted(package.rglob("*.py")):
            inside = path.relative_to(package.parent).with_suffix("")
            if path.name not in WITH_PANTS and path.name not in ("__main__.py", "__init__.py"):
                yield ".".join(inside.parts)


@pytest.mark.parametrize("version", VERSIONS)
def test_it_loads_on(version: str) -> None:
    names = [*modules()]
    assert len(names) > 50
    packages = os.pathsep.join(map(str, PACKAGES))
    loaded = subprocess.run(
        [interpreter(version), "-I", "-B", "-W", "error", "-c", _LOAD, packages, *names],
        capture_output=True,
        text=True,
        check=False,
    )
    assert loaded.returncode == 0, loaded.stderr


@pytest.mark.parametrize("name", sorted(WITH_PANTS))
def test_what_pants_reads_of_annotations_has_a_value_on_the_oldest_python(name: str) -> None:
    """Pants evaluates the annotations of rules, and on 3.9 `X | None` raises then."""
    for node in ast.walk(ast.parse((PLUGIN / name).read_text())):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        for annotation in [node.returns, *(argument.annotation for argument in arguments)]:
            operators = [] if annotation is None else [*ast.walk(annotation)]
            assert not any(isinstance(part, ast.BitOr) for part in operators), node.name
