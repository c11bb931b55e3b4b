from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.process import Process


@pytest.fixture(scope="module", params=["slots", "bubblewrap"])
def data(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The data directory of a server that executes."""
    if request.param == "bubblewrap" and shutil.which("bwrap") is None:
        pytest.skip("bubblewrap isn't installed")
    made = tmp_path_factory.mktemp("serve") / "data"
    flags = ("--execution", "on", "--slots", "2", "--sandbox", request.param)
    with Process("--data-dir", str(made), *flags) as process:
        if not process.ready()["ready"]:
            pytest.skip(f"{request.param} doesn't work here")
        yield made
