"""The SQLite file of jobs and of their files."""

from __future__ import annotations

from p2pinfer.database import FileKind

_FILES = """
CREATE TABLE files (
    place INTEGER PRIMARY KEY AUTOINCREMENT,  -- in the order in which they came
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    purpose TEXT NOT NULL,
    name TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL
) STRICT;
CREATE INDEX files_by_owner ON files (owner, place);
CREATE INDEX files_by_expiry ON files (expires_at) WHERE expires_at IS NOT NULL;
"""

JOBS = FileKind(name="store of jobs", application_id=0x70324A42, version=1, schema=_FILES)
