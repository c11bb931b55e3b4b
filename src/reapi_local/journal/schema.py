"""The tables of the journal.

Times are seconds since the epoch, days are such seconds divided by 86400. Digests are the bytes of
:class:`~reapi_local.protocol.digest.Digest`; an action is known by its digest without the size.
Rows that name a run or an action do so by its number in that table.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 1
"""Kept as SQLite's ``user_version``. A journal of another version is set aside."""

TABLES: Final = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    run TEXT NOT NULL,
    instance TEXT NOT NULL,
    tool TEXT NOT NULL DEFAULT '',
    started_at REAL NOT NULL,
    last_call_at REAL NOT NULL,
    hits INTEGER NOT NULL DEFAULT 0,
    misses INTEGER NOT NULL DEFAULT 0,
    hit_bytes INTEGER NOT NULL DEFAULT 0,
    hit_ms INTEGER NOT NULL DEFAULT 0,
    ran_ms INTEGER NOT NULL DEFAULT 0,
    report TEXT,
    user TEXT NOT NULL DEFAULT '',
    machine TEXT NOT NULL DEFAULT '',
    asked INTEGER NOT NULL DEFAULT 0,
    cached INTEGER NOT NULL DEFAULT 0,
    saved_ms INTEGER NOT NULL DEFAULT 0,
    has_details INTEGER NOT NULL DEFAULT 1,
    UNIQUE (run, instance)
);
CREATE INDEX runs_by_start ON runs (started_at);

CREATE TABLE actions (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,
    size_bytes INTEGER NOT NULL,
    last_at REAL NOT NULL,
    definition INTEGER,
    input_root BLOB,
    link BLOB,
    output_bytes INTEGER,
    ran_ms INTEGER
);
CREATE INDEX actions_by_link ON actions (link) WHERE link IS NOT NULL;

CREATE TABLE lookups (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    packed BLOB NOT NULL
);
CREATE INDEX lookups_by_run ON lookups (run);

CREATE TABLE results (
    id INTEGER PRIMARY KEY,
    action INTEGER NOT NULL,
    instance TEXT NOT NULL,
    at REAL NOT NULL,
    writer TEXT NOT NULL,
    run TEXT NOT NULL,
    executed INTEGER NOT NULL,
    exit_code INTEGER NOT NULL
);
CREATE INDEX results_by_action ON results (action);

CREATE TABLE executions (
    id INTEGER PRIMARY KEY,
    action INTEGER NOT NULL,
    run INTEGER,
    instance TEXT NOT NULL,
    at REAL NOT NULL,
    queued_ms INTEGER NOT NULL,
    ran_ms INTEGER NOT NULL,
    code INTEGER NOT NULL,
    exit_code INTEGER NOT NULL
);
CREATE INDEX executions_by_action ON executions (action);

CREATE TABLE removals (
    id INTEGER PRIMARY KEY,
    action INTEGER NOT NULL,
    instance TEXT NOT NULL,
    at REAL NOT NULL,
    reason TEXT NOT NULL,
    missing TEXT
);
CREATE INDEX removals_by_action ON removals (action);

CREATE TABLE evictions (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    generation INTEGER NOT NULL,
    bytes_before INTEGER NOT NULL,
    bytes_after INTEGER NOT NULL
);

CREATE TABLE definitions (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,
    body BLOB NOT NULL,
    last_at REAL NOT NULL
);

CREATE TABLE processes (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    span TEXT NOT NULL,
    definition INTEGER NOT NULL,
    input_root BLOB,
    link BLOB NOT NULL,
    action INTEGER,
    description TEXT NOT NULL,
    goal TEXT NOT NULL,
    targets TEXT NOT NULL,
    source TEXT NOT NULL,
    asked INTEGER NOT NULL,
    exit_code INTEGER NOT NULL,
    started_at REAL NOT NULL,
    elapsed_ms INTEGER NOT NULL,
    saved_ms INTEGER NOT NULL,
    UNIQUE (run, span)
);
CREATE INDEX processes_by_link ON processes (link);
CREATE INDEX processes_by_description ON processes (description, id);

CREATE TABLE trees (
    root BLOB PRIMARY KEY,
    at REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE directories (
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    body BLOB NOT NULL,
    last_at REAL NOT NULL
);

CREATE TABLE process_days (
    day INTEGER NOT NULL,
    instance TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    processes INTEGER NOT NULL,
    asked INTEGER NOT NULL,
    cached INTEGER NOT NULL,
    saved_ms INTEGER NOT NULL,
    saved_bytes INTEGER NOT NULL,
    ran_ms INTEGER NOT NULL,
    PRIMARY KEY (day, instance, kind, name)
) WITHOUT ROWID;

CREATE TABLE cost_days (
    day INTEGER NOT NULL,
    instance TEXT NOT NULL,
    uploaded_bytes INTEGER NOT NULL DEFAULT 0,
    upload_ms REAL NOT NULL DEFAULT 0,
    downloaded_bytes INTEGER NOT NULL DEFAULT 0,
    download_ms REAL NOT NULL DEFAULT 0,
    evicted_bytes INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (day, instance)
) WITHOUT ROWID;

CREATE TABLE counts (
    name TEXT PRIMARY KEY,
    number INTEGER NOT NULL
) WITHOUT ROWID;
"""

OUTCOMES: Final = ("hit", "absent", "incomplete", "corrupt")
"""A look-up has the place of its outcome in this list."""

DAY_SECONDS: Final = 86400
