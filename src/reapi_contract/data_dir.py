"""What is where in a server's data directory, as far as a launcher has to know."""

from __future__ import annotations

STATE_FILE = "server.json"
SERVER_LOCK = "server.lock"
"""Locked (flock) for as long as a server runs on the directory."""

LAUNCH_LOCK = "launch.lock"
"""Locked by whoever starts or stops a server."""

LOG_FILE = "server.log"
STORE = "store"
"""Blobs and action results: all that a purge deletes."""
