"""The names of the ways in which a server separates actions from the machine and each other."""

from __future__ import annotations

AUTO = "auto"
"""The strongest level that works on the machine. It is never the process group."""

SLOTS = "slots"
BUBBLEWRAP = "bubblewrap"
PROCESS_GROUP = "process-group"
"""No isolation: a plain process group on the host. It is used only where it is asked for."""

STRONGEST_FIRST = (SLOTS, BUBBLEWRAP)
CHOICES = (AUTO, SLOTS, BUBBLEWRAP, PROCESS_GROUP)
"""The values of the setting `sandbox`."""
