"""How long a test waits for what has to come.

It ends a test that hangs, and measures nothing: a machine may be ten times slower than usual.
"""

from __future__ import annotations

from typing import Final

PATIENCE_S: Final = 900
