"""The backend that runs ruff loads on a Pants that lacks what the backend needs of an old one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

BACKEND = "pants/backend/experimental/python/lint/ruff"


def forget_modules() -> None:
    for name in [*sys.modules]:
        if name.partition(".")[0] in ("pants", "ruff_backend"):
            del sys.modules[name]


@pytest.fixture
def pants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for the modules of a Pants that has nothing else."""
    monkeypatch.syspath_prepend(tmp_path)
    forget_modules()
    yield tmp_path
    forget_modules()


def test_a_new_release_uses_its_own_rules(pants: Path) -> None:
    for mode in ("check", "format"):
        module = pants / BACKEND / mode / "register.py"
        module.parent.mkdir(parents=True)
        module.write_text(f"def rules(): return ['{mode}']\n")
    from ruff_backend import register

    assert [*register.rules()] == ["check", "format"]
