"""The plugin is valid on every CPython that Pants brings: 3.9 to 3.14."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reapi_local_launcher.source import PLUGIN

# These import Pants; the rest has to do without, for the `reapi-local` command uses it.
WITH_PANTS = {"goals.py", "register.py", "remote_auth.py", "subsystem.py"}
VERSIONS = [f"3.{minor}" for minor in range(9, 15)] + ["3.14t"]
_LOAD = """
import importlib, pathlib, sys
sys.path.insert(0, str(pathlib.Path(sys.argv[1]).parent))
for name in sys.argv[2:]:
    importlib.import_module(name)
for path in pathlib.Path(sys.argv[1]).rglob("*.py"):
    compile(path.read_bytes(), str(path), "exec")
assert "pants" not in sys.modules
"""


def modules() -> Iterator[str]:
    for path in sorted(PLUGIN.rglob("*.py")):
        inside = path.relative_to(PLUGIN.parent).with_suffix("")
        if path.name not in WITH_PANTS and path.name not in ("__main__.py", "__init__.py"):
            yield ".".join(inside.parts)


def interpreter(version: str) -> str | None:
    """A CPython of this version on PATH or under pyenv."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    home = os.environ.get("PYENV_ROOT") or Path("~/.pyenv").expanduser()
    number, free_threaded = version.rstrip("t"), version.endswith("t")
    pattern = f"versions/{number}.*[0-9]{'t' * free_threaded}/bin/python{version}"
    candidates = [*map(str, Path(home).glob(pattern)), shutil.which(f"python{version}")]
    for candidate in filter(None, candidates):
        # A shim of pyenv answers with an error where its version isn't selected.
        if subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


@pytest.mark.parametrize("version", VERSIONS)
def test_it_loads_on(version: str) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no CPython {version} found on PATH or under pyenv")
    names = [*modules()]
    assert len(names) > 30
    loaded = subprocess.run(
        [python, "-I", "-B", "-W", "error", "-c", _LOAD, PLUGIN, *names],
        capture_output=True,
        text=True,
        check=False,
    )
    assert loaded.returncode == 0, loaded.stderr


@pytest.mark.parametrize("name", sorted(WITH_PANTS))
def test_what_pants_reads_of_annotations_has_a_value_on_the_oldest_python(name: str) -> None:
    """Pants evaluates the annotations of rules; on 3.9 `X | None` raises then."""
    for node in ast.walk(ast.parse((PLUGIN / name).read_text())):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        for annotation in [node.returns, *(argument.annotation for argument in arguments)]:
            operators = [] if annotation is None else [*ast.walk(annotation)]
            assert not any(isinstance(part, ast.BitOr) for part in operators), node.name
