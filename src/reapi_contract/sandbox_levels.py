"""The names of the ways in which a server keeps actions apart."""

from __future__ import annotations

AUTO = "auto"
"""The strongest that works on the machine; never the process group, which has to be named."""

SLOTS = "slots"
BUBBLEWRAP = "bubblewrap"
PROCESS_GROUP = "process-group"
"""Contains nothing: a plain process group on the host."""

STRONGEST_FIRST = (SLOTS, BUBBLEWRAP)
CHOICES = (AUTO, SLOTS, BUBBLEWRAP, PROCESS_GROUP)
"""What can be asked for."""
