"""The names in a server's data directory that both the server and a launcher use."""

from __future__ import annotations

STATE_FILE = "server.json"
SERVER_LOCK = "server.lock"
"""The server holds this lock (flock) for as long as it runs; `server_lock` says which process."""

LAUNCH_LOCK = "launch.lock"
"""A launcher holds this lock (flock) while it starts or stops a server."""

HOLDER_SOCKET = "holder.sock"
"""Where the process listens that holds the ports of a killed server; see `port_holder`."""

LOG_FILE = "server.log"
STORE = "store"
"""The directory of blobs and action results. A purge deletes it, and nothing else."""

JOURNAL = "journal"
"""The directory of the journal, which a purge leaves alone."""

INPUTS = "inputs"
"""The directory of input trees. What earlier boots of the machine left in it is of no use."""

INPUT_RECORDS = "records"
"""In `INPUTS`: a file `NUMBER-…` for each directory `NUMBER` that is complete."""

INPUT_STAMP = "stamp"
"""In `INPUTS`: a file whose words say what the directories were made for, among them the boot."""

BOOT_ID_FILE = "/proc/sys/kernel/random/boot_id"
"""An id that differs after each boot of the machine; some systems have no such file."""

CACHES = "caches"
"""The directory of named caches, a directory for each instance, whose mtime says when it was used
last."""

REMOVED_CACHES = ".removed-"
"""How the names of directories in `CACHES` begin that are being deleted."""

PLACES = "places.json"
"""The file in which a server remembers which repositories its actions see."""

SANDBOX = "sandbox"
"""The directory of working files of the sandboxes. Each start of a server empties it."""
