"""From the wheel alone: put into a repository by `reapi-local init`, or loaded by Pants itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.pants_repo import CHECKOUT, SHELL, SLOW_TEST, Machine, machine, pants_toml
from reapi_local_plugin.instance_name import instance_name

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Installed:
    """An empty virtual environment with the wheel in it, and the directory that holds the wheel."""

    wheels: Path
    command: Path


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("installed")) as made:
        yield made


@pytest.fixture(scope="module")
def installed(shop: Machine) -> Installed:
    wheels, environment = shop.root / "wheels", shop.root / "environment"
    pip: list[str | Path]
    pip = [environment / "bin" / "python", "-m", "pip", "-q", "--disable-pip-version-check"]
    commands: list[list[str | Path]] = [
        [sys.executable, "-m", "venv", environment],
        [*pip, "wheel", "--no-deps", f"--wheel-dir={wheels}", CHECKOUT],
        [*pip, "install", "--no-index", f"--find-links={wheels}", "reapi-local"],
    ]
    for command in commands:
        subprocess.run(command, env=shop.env, check=True)
    return Installed(wheels, environment / "bin" / "reapi-local")


def test_init_puts_all_that_is_needed_into_a_repository_that_knew_nothing(
    shop: Machine, installed: Installed
) -> None:
    repository = shop.repository("initialised", pants_toml(SHELL, pythonpath=[]))
    repository.write({"BUILD": SLOW_TEST})
    init = subprocess.run(
        [installed.command, "init"],
        cwd=repository.root,
        env=shop.env,
        check=True,
        capture_output=True,
        text=True,
    )
    assert init.stdout.splitlines()[-1] == "Next: `pants reapi-up`."
    up = repository.run("reapi-up").must_succeed()
    # No Python here has what the server needs, so an environment is made, which takes a while.
    assert "Making the server's Python environment, once" in up.err
    assert "proofs hold" in up.out
    build = repository.run("test", "::").must_succeed()
    assert build.lookups == (0, 1)
    assert shop.writes(instance_name(None, repository.root)) == 1
    check = repository.run("reapi-check").must_succeed()
    assert check.out.splitlines()[-1] == "All 9 proofs hold."
    repository.run("reapi-down").must_succeed()


def test_the_wheel_is_a_plugin_that_pants_loads_by_itself(
    shop: Machine, installed: Installed
) -> None:
    settings = 'plugins = ["reapi-local"]'
    repository = shop.repository("plugged", pants_toml(SHELL, settings=settings, pythonpath=[]))
    repository.write({"BUILD": SLOW_TEST})
    wheels = f"--python-repos-find-links=+['{installed.wheels.as_uri()}']"
    up = repository.run(wheels, "reapi-up").must_succeed()
    assert "proofs hold" in up.out
    build = repository.run(wheels, "test", "::").must_succeed()
    assert build.warnings == []
    assert build.lookups == (0, 1)
    assert shop.writes(instance_name(None, repository.root)) == 1
    assert "All 9 proofs hold." in repository.run(wheels, "reapi-check").must_succeed().out
