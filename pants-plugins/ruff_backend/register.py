"""`pants lint`, `pants fix` and `pants fmt` with ruff, on each release of Pants.

Since 2.20, Pants' own backends call ruff with its subcommands, so they are used.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any


def rules() -> Iterable[Any]:
    if find_spec("pants.backend.experimental.python.lint.ruff.check") is None:
        from ruff_backend import before_2_20

        return before_2_20.rules()
    from pants.backend.experimental.python.lint.ruff.check import register as check
    from pants.backend.experimental.python.lint.ruff.format import register as format_

    return (*check.rules(), *format_.rules())
