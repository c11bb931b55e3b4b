"""One server and what is done with it: find, start, stop, check, purge."""
