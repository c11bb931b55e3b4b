"""The committed modules are what the definitions generate."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = Path("reapi_local", "proto")


def contents(root: Path) -> dict[str, bytes]:
    """File name → content of every generated module below ``root``."""
    return {path.name: path.read_bytes() for path in (root / PACKAGE).glob("*_pb2*.py*")}


def test_regenerating_changes_nothing(tmp_path: Path) -> None:
    script = REPOSITORY / "protos" / "generate.py"
    subprocess.run([sys.executable, str(script), "--out", str(tmp_path)], check=True)

    generated, committed = contents(tmp_path), contents(REPOSITORY / "src")

    assert set(committed) == set(generated)
    stale = sorted(name for name in generated if generated[name] != committed[name])
    assert not stale, "the definitions or grpcio-tools changed; run: python protos/generate.py"


def test_only_messages_are_generated() -> None:
    """Method handlers are built from the service descriptors, so no gRPC modules are needed."""
    assert not list((REPOSITORY / "src" / PACKAGE).glob("*_grpc.py*"))
