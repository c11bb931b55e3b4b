"""What happened, kept over restarts: runs, processes, look-ups, results and evictions.

The event loop puts events and reports into the `intake`; a thread, the `writer`, puts them into a
SQLite database; queries read it over connections of their own. Nothing in the server waits for the
journal, and nothing fails with it.
"""
