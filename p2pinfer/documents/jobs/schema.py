"""The tables of the file that keeps jobs."""

from __future__ import annotations

from p2pinfer.database import FileKind
from p2pinfer.errors import JobStoreError

_TABLES = """
-- Text from people and files is kept as JSON in ASCII: SQLite's UTF-8 has no place for lone surrogates.
CREATE TABLE jobs (
    serial INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    url TEXT NOT NULL,
    state TEXT NOT NULL,
    times TEXT NOT NULL,
    total INTEGER NOT NULL DEFAULT 0,
    completed INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0 CHECK (completed + failed <= total),
    prefill_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    decode_tokens INTEGER NOT NULL DEFAULT 0,
    layers INTEGER NOT NULL DEFAULT 0,
    most_layer_tokens INTEGER,
    created_at REAL NOT NULL,
    expires_at REAL,
    metadata TEXT NOT NULL,
    settings TEXT NOT NULL,
    problems TEXT NOT NULL DEFAULT '[]',
    input_file TEXT NOT NULL,
    output_file TEXT NOT NULL DEFAULT 'null',
    error_file TEXT NOT NULL DEFAULT 'null',
    waiting_for TEXT NOT NULL DEFAULT '""'
) STRICT;
CREATE INDEX jobs_by_owner ON jobs (owner, serial);
CREATE INDEX jobs_by_state ON jobs (state, serial);

-- The input as it came. Rows are never changed.
CREATE TABLE documents (
    id INTEGER PRIMARY KEY,
    job INTEGER NOT NULL,
    number INTEGER NOT NULL CHECK (number >= 0),
    custom_id TEXT NOT NULL,
    url TEXT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (job, number)
) STRICT;

-- The documents without an outcome. A row leaves in the transaction that adds the outcome: exactly once.
CREATE TABLE waiting (
    job INTEGER NOT NULL,
    number INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    last_error TEXT NOT NULL DEFAULT '""',
    PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE outcomes (
    place INTEGER PRIMARY KEY,
    job INTEGER NOT NULL,
    number INTEGER NOT NULL,
    status INTEGER NOT NULL,
    body TEXT NOT NULL,
    prefill_tokens INTEGER NOT NULL CHECK (prefill_tokens >= 0),
    cached_tokens INTEGER NOT NULL CHECK (cached_tokens >= 0),
    decode_tokens INTEGER NOT NULL CHECK (decode_tokens >= 0),
    is_error INTEGER NOT NULL GENERATED ALWAYS AS (status <> 200) VIRTUAL,
    UNIQUE (job, number)
) STRICT;
CREATE INDEX outcomes_in_order ON outcomes (job, is_error, place);

-- Pieces of documents that wait, so that a kill loses little of a long one.
CREATE TABLE parts (
    job INTEGER NOT NULL,
    number INTEGER NOT NULL,
    part TEXT NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (job, number, part)
) STRICT;

-- How far a job's files are written: bytes are valid and contain the outcomes up to and with place.
CREATE TABLE outputs (
    job INTEGER NOT NULL,
    kind TEXT NOT NULL,
    path TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    crc32 INTEGER NOT NULL,
    place INTEGER NOT NULL,
    PRIMARY KEY (job, kind)
) STRICT, WITHOUT ROWID;

-- Jobs that are deleted, whose rows in other tables may still be there: they go in pieces.
CREATE TABLE gone (job INTEGER PRIMARY KEY) STRICT;

-- Uploaded and written files. Their bytes lie in a folder beside this file, under their ids.
CREATE TABLE files (
    serial INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    purpose TEXT NOT NULL,
    bytes INTEGER NOT NULL CHECK (bytes >= 0),
    created_at REAL NOT NULL,
    expires_at REAL
) STRICT;
CREATE INDEX files_by_owner ON files (owner, serial);
"""

JOBS = FileKind(
    name="store of jobs",
    application_id=0x70326A31,  # "p2j1"
    version=1,
    schema=_TABLES,
    error=JobStoreError,
    is_checked_at_opening=False,
)
