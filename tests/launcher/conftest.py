from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.harness import Site
from launcher.server_process import Servers


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "installed")
    yield made
    made.clean_up()


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "checkout", checkout=True)
    yield made
    made.clean_up()


@pytest.fixture(scope="module", params=["stand-in", "real"])
def servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Servers]:
    made = Servers(Site(tmp_path_factory.mktemp("site") / "root", real=request.param == "real"))
    yield made
    made.end()
