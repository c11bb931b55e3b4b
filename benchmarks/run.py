"""Measure the server: ``python benchmarks/run.py [NAME...]``. README.md tells more."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from importlib import import_module
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
BENCHMARKS = ("server", "calls", "execution", "pants", "pants_execution")


def main() -> int:
    """Run the benchmarks named, or all; print a table of each."""
    options = _parser().parse_args()
    # The server's own definitions make the requests; imported from this checkout, as it is run.
    sys.path.insert(0, str(CHECKOUT / "src"))
    report = import_module("report")
    print(report.machine_line(), flush=True)
    results = []
    for name in options.names or BENCHMARKS:
        options.scratch = tempfile.mkdtemp(prefix="reapi-local-bench-", dir=options.dir)
        try:
            measured = import_module(f"bench_{name}").measure(options)
        finally:
            shutil.rmtree(options.scratch, ignore_errors=True)
        print(f"\n## {name}\n\n{report.markdown(measured)}", flush=True)
        results += measured
    if options.json:
        Path(options.json).write_text(report.as_json(results))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help=f"which to run: {', '.join(BENCHMARKS)} (all)")
    add("--json", metavar="FILE", help="write every sample to FILE")
    add("--rounds", type=int, default=5, help="how often each is measured (default: %(default)s)")
    add("--dir", metavar="DIR", help="where the stores go; /dev/shm leaves the disk out")
    add(
        "--peer",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="calls: another server to measure beside ours; {port} and {dir} are filled in",
    )
    add("--blobs", type=int, default=1_000_000, help="server: how many the full store holds")
    add("--processes", type=int, default=300, help="pants: how many a cold build runs")
    add(
        "--pants",
        default=str(CHECKOUT / "pants"),
        metavar="PROGRAM",
        help="pants: the Pants to run (default: that of this checkout)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
