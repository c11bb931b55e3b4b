"""Generates the Python modules of the wire definitions in this folder.

``python protos/generate.py`` writes them to ``src/``, where they are committed;
``python protos/generate.py --out DIR`` writes them to ``DIR`` instead. Only messages are generated:
the server takes its methods from the service descriptors these modules hold.
"""

from __future__ import annotations

import argparse
import sys
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parent
SRC = PROTOS.parent / "src"


def include_paths() -> list[str]:
    """Where imports are found: here, google/protobuf, and google/rpc with its siblings."""
    spec = find_spec("google.rpc.status_pb2")
    if spec is None or spec.origin is None:
        raise SystemExit("googleapis-common-protos isn't installed; install it and run this again")
    common = Path(spec.origin).parents[2]
    # The package ships this file under another name than the one its own module registers.
    operations = common / "google" / "longrunning" / "operations_proto.proto"
    return [
        str(PROTOS),
        str(files("grpc_tools") / "_proto"),
        f"google/longrunning/operations.proto={operations}",
        str(common),
    ]


def generate(out: Path) -> int:
    """Write the modules of all definitions below ``out``; returns protoc's exit code."""
    names = sorted(path.relative_to(PROTOS).as_posix() for path in PROTOS.rglob("*.proto"))
    out.mkdir(parents=True, exist_ok=True)
    includes = [f"-I{path}" for path in include_paths()]
    outputs = [f"--python_out={out}", f"--pyi_out={out}"]
    exit_code: int = protoc.main(["protoc", *includes, *outputs, *names])
    return exit_code


def main() -> int:
    """Run from a command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Generate Python modules from the definitions.")
    parser.add_argument("--out", type=Path, default=SRC, metavar="DIR", help="default: src")
    return generate(parser.parse_args().out)


if __name__ == "__main__":
    sys.exit(main())
