from __future__ import annotations

from collections.abc import Iterator

import pytest

from past_actions.lab import Lab, start


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A server that executes actions."""
    made = start(tmp_path_factory.mktemp("lab") / "site", "--execution=on", "--slots=2")
    yield made
    made.server.process.kill()
    made.server.process.wait()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A server that only keeps results."""
    made = start(tmp_path_factory.mktemp("cache") / "site", "--execution=off")
    yield made
    made.server.process.kill()
    made.server.process.wait()
