"""What Pants counted in its last run that asked the remote cache: a file in its work directory.

The server counts what it answered. A difference between the two shows answers that Pants could not
use. Imports nothing of Pants.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from reapi_contract.admin_api import RunSummary
from reapi_contract.json_records import from_json, to_json

_FILE = "reapi-local-run.json"


@dataclass(frozen=True)
class CountedRun:
    """Answers of the action cache, as Pants counts them.

    `run`: the name of the run, which the server knows too. `used`: hits whose outputs Pants could
    read. `refused`: misses, and hits whose outputs are missing for Pants. An answer that came after
    the process had ended here is in neither, nor is an error such as a timeout.
    """

    run: str = ""
    used: int = 0
    refused: int = 0

    def unusable_hits(self, served: RunSummary) -> int:
        """How many hits of the server Pants could not use.

        0 if this is another run, or if a part of it asked a server that ended since.
        """
        answered = served.hits + served.misses
        if self.run != served.run or answered < self.used + self.refused:
            return 0
        return max(0, min(served.hits, self.refused - served.misses))


def counted_run(run: str, counters: Mapping[str, int]) -> Optional[CountedRun]:
    """The run with Pants' own counters; None if it asked nothing."""
    if not counters.get("remote_cache_requests"):
        return None
    return CountedRun(
        run=run,
        used=counters.get("remote_cache_requests_cached", 0),
        refused=counters.get("remote_cache_requests_uncached", 0),
    )


def write(counted: CountedRun, work_dir: Path) -> None:
    """Keep it for `reapi-check`. Raises OSError."""
    part = work_dir / f"{_FILE}.{os.getpid()}"
    part.write_text(json.dumps(to_json(counted)), encoding="utf-8")
    part.replace(work_dir / _FILE)


def read(work_dir: Path) -> CountedRun:
    """The last run; one without a name if there is none."""
    try:
        return from_json(CountedRun, json.loads((work_dir / _FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return CountedRun()
