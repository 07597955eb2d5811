"""The history of models over the last days: a few numbers per minute, kept across restarts.

One row holds one minute of a model; several samples of a minute share it. A model has rows for eight days,
and there is room for 64 models, so the file stays below about 50 MB whatever a swarm announces. A new model
replaces a silent model, the one with the shortest history first. So invented names pass through, and models
with days of history stay.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from p2pinfer.database import Database, FileKind
from p2pinfer.health.kept.setting_aside import open_or_set_aside
from p2pinfer.health.snapshot.plain import LATEST_TIME, clean_count, clean_number
from p2pinfer.health.snapshot.state import Sample

MAX_MODELS = 64
KEPT_MINUTES = 8 * 24 * 60
SILENT_MINUTES = 10
"""A model without samples for this long may lose its place to a new model."""

_MODEL_CHARACTERS = 64  # a manifest hash
_MAX_SERVERS = 10**6
_MAX_TOKENS_PER_SECOND = 1e12

_TABLES = """
CREATE TABLE models (
    id INTEGER PRIMARY KEY,
    model TEXT NOT NULL UNIQUE,
    newest_minute INTEGER NOT NULL
) STRICT;

-- Sums of the samples of one minute, and their number. For the weakest layer, the minimum.
CREATE TABLE minutes (
    model INTEGER NOT NULL REFERENCES models (id),
    minute INTEGER NOT NULL,
    samples INTEGER NOT NULL,
    at REAL NOT NULL,
    servers INTEGER NOT NULL,
    weakest_replicas INTEGER NOT NULL,
    swarm_tokens_per_second REAL NOT NULL,
    probes INTEGER NOT NULL,
    probe_tokens_per_second REAL NOT NULL,
    PRIMARY KEY (model, minute)
) STRICT, WITHOUT ROWID;
"""

HISTORY = FileKind(
    name="history",
    application_id=0x70326831,  # "p2h1"
    version=1,
    schema=_TABLES,
)

_ADD = """
INSERT INTO minutes VALUES (:model, :minute, 1, :at, :servers, :weakest, :swarm, :probes, :probe)
ON CONFLICT (model, minute) DO UPDATE SET
    samples = samples + 1,
    at = at + excluded.at,
    servers = servers + excluded.servers,
    weakest_replicas = min(weakest_replicas, excluded.weakest_replicas),
    swarm_tokens_per_second = swarm_tokens_per_second + excluded.swarm_tokens_per_second,
    probes = probes + excluded.probes,
    probe_tokens_per_second = probe_tokens_per_second + excluded.probe_tokens_per_second
"""

# Buckets begin at multiples of their width, so that points keep their places as time goes on.
_READ = """
SELECT sum(at) / sum(samples), sum(servers) * 1.0 / sum(samples), min(weakest_replicas),
    sum(swarm_tokens_per_second) / sum(samples), sum(probe_tokens_per_second) / nullif(sum(probes), 0)
FROM minutes WHERE model = ? AND minute >= ?
GROUP BY minute / ? ORDER BY minute
"""

_SHORTEST_SILENT = """
SELECT id FROM models WHERE newest_minute < ?
ORDER BY (SELECT count(*) FROM minutes WHERE minutes.model = models.id), newest_minute LIMIT 1
"""


class History:
    """One page's history, for one thread at a time. After `add` returns, its sample survives a SIGKILL."""

    def __init__(self, database: Database) -> None:
        """Use `open`."""
        self._database = database

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the file at `path`, or create it. A damaged file is set aside, with a warning.

        Raises DatabaseError, naming the file, if it is of another kind or version, or can't be written.
        """
        return cls(open_or_set_aside(path, HISTORY))

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, model: str, sample: Sample) -> bool:
        """Keep a sample of a model (manifest hash). False if there is no room for the model, or the sample
        has no valid time. Raises DatabaseError if the file can't be written.
        """
        return self.add_all({model: sample}) == 1

    def add_all(self, samples: Mapping[str, Sample]) -> int:
        """Keep one sample of each model, in one write. Returns the number that was kept."""
        with self._database.transaction() as connection:
            return sum(_add(connection, model, sample) for model, sample in samples.items())

    def samples(self, model: str, since: float, most: int = 300) -> list[Sample]:
        """Samples since `since` (Unix seconds, to the minute), oldest first, at most `most` (2 or more).

        If there are more, each result stands for a stretch of time: averages, but the minimum for the weakest
        layer, so that a short outage stays visible. Empty for an unknown model. Raises DatabaseError if the
        file can't be read.
        """
        known = next(self._database.rows("SELECT id FROM models WHERE model = ?", (model,)), None)
        if known is None:
            return []
        [number] = known
        first = int(min(max(since, 0.0), LATEST_TIME) // 60) if since == since else 0
        [(oldest, newest)] = self._database.rows(
            "SELECT min(minute), max(minute) FROM minutes WHERE model = ? AND minute >= ?", (number, first)
        )
        if oldest is None:
            return []
        minutes = newest - oldest + 1
        # One bucket fewer than allowed, because the ends may cut the first and the last one.
        width = 1 if minutes <= most else math.ceil(minutes / (max(most, 2) - 1))
        rows = self._database.rows(_READ, (number, first, width))
        return [
            Sample(
                at=at,
                servers=round(servers),
                weakest_replicas=weakest,
                swarm_tokens_per_second=swarm,
                probe_tokens_per_second=probe,
            )
            for at, servers, weakest, swarm, probe in rows
        ]


def _add(connection: sqlite3.Connection, model: str, sample: Sample) -> bool:
    at = clean_number(sample.at, 0.0, LATEST_TIME)
    if at is None or not 0 < len(model) <= _MODEL_CHARACTERS or not model.isprintable():
        return False
    minute = int(at // 60)
    number = _find_place(connection, model, minute)
    if number is None:
        return False
    probe = clean_number(sample.probe_tokens_per_second, 0.0, _MAX_TOKENS_PER_SECOND)
    connection.execute(
        _ADD,
        {
            "model": number,
            "minute": minute,
            "at": at,
            "servers": clean_count(sample.servers, _MAX_SERVERS),
            "weakest": clean_count(sample.weakest_replicas, _MAX_SERVERS),
            "swarm": clean_number(sample.swarm_tokens_per_second, 0.0, _MAX_TOKENS_PER_SECOND) or 0.0,
            "probes": int(probe is not None),
            "probe": probe or 0.0,
        },
    )
    connection.execute("UPDATE models SET newest_minute = ? WHERE id = ?", (minute, number))
    connection.execute("DELETE FROM minutes WHERE model = ? AND minute <= ?", (number, minute - KEPT_MINUTES))
    # Rows in the future come from a clock that was wrong and has been set.
    connection.execute(
        "DELETE FROM minutes WHERE model = ? AND minute > ?", (number, minute + SILENT_MINUTES)
    )
    return True


def _find_place(connection: sqlite3.Connection, model: str, minute: int) -> int | None:
    """The model's number, new if there is room or a silent model can go; else None."""
    known = connection.execute("SELECT id FROM models WHERE model = ?", (model,)).fetchone()
    if known is not None:
        return int(known[0])
    _forget(connection, "SELECT id FROM models WHERE newest_minute <= ?", minute - KEPT_MINUTES)
    [models] = connection.execute("SELECT count(*) FROM models").fetchone()
    if models >= MAX_MODELS and not _forget(connection, _SHORTEST_SILENT, minute - SILENT_MINUTES):
        return None
    return connection.execute("INSERT INTO models VALUES (NULL, ?, ?)", (model, minute)).lastrowid


def _forget(connection: sqlite3.Connection, query: str, minute: int) -> int:
    """Delete the models that a query selects. Returns their number."""
    found = connection.execute(query, (minute,)).fetchall()
    connection.executemany("DELETE FROM minutes WHERE model = ?", found)
    connection.executemany("DELETE FROM models WHERE id = ?", found)
    return len(found)
