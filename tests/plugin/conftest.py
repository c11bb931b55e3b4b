"""The hook as Pants calls it, for all tests of what it answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from plugin.hook_of_pants import Hook, loaded_hook


@pytest.fixture(scope="module")
def hook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hook]:
    with loaded_hook(tmp_path_factory.mktemp("build-root")) as made:
        yield made
