"""The names of the levels at which a server isolates actions from the machine and each other."""

from __future__ import annotations

AUTO = "auto"
"""The strongest level that works on the machine; never `PROCESS_GROUP`."""

SLOTS = "slots"
BUBBLEWRAP = "bubblewrap"
PROCESS_GROUP = "process-group"
"""A plain process group on the host, which isolates nothing. It is used only if it is set."""

STRONGEST_FIRST = (SLOTS, BUBBLEWRAP)
CHOICES = (AUTO, SLOTS, BUBBLEWRAP, PROCESS_GROUP)
"""The values of the setting `sandbox`."""
