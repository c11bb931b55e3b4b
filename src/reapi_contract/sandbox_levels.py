"""The names of the ways in which a server isolates actions from the machine and each other."""

from __future__ import annotations

AUTO = "auto"
"""The strongest level that works on the machine, but never the process group."""

SLOTS = "slots"
BUBBLEWRAP = "bubblewrap"
PROCESS_GROUP = "process-group"
"""A plain process group on the host. It isolates nothing, and is used only if it is named."""

STRONGEST_FIRST = (SLOTS, BUBBLEWRAP)
CHOICES = (AUTO, SLOTS, BUBBLEWRAP, PROCESS_GROUP)
"""The values of the setting `sandbox`."""
