from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.harness import Site


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
