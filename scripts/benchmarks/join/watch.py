"""Watches joiners from outside: the counters of their lines, their lines of output, processor time."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from p2pinfer.errors import SwarmError
from p2pinfer.local_swarm.server_process import ServerProcess
from scripts.lab import WanLab

LOOK_SECONDS = 0.2
FIRST_BYTES = 500_000
"""A joiner that has received more than this is fetching: before that come manifest, config and records."""

_TIMELINE_SECONDS = 1.0
_FETCHED = re.compile(r"fetched files=\d+ bytes=(\d+) peers=(\d+)")


@dataclass(slots=True)
class Joiner:
    """One joiner, and when what happened: seconds since the watch began."""

    host: str
    server: ServerProcess
    cache_folder: Path
    needed_bytes: int
    started: float
    first_chunk: float | None = None
    first_bytes: int = 0
    fetched: float | None = None
    ready: float | None = None
    payload_bytes: int = 0
    peers: int = 0
    down_bytes: int = 0
    up_bytes: int = 0

    def look(self, now: float, down_bytes: int, up_bytes: int) -> None:
        """Note what has happened until now. Raises SwarmError if the server has ended."""
        if self.ready is not None:
            return
        self.down_bytes, self.up_bytes = down_bytes, up_bytes
        if self.first_chunk is None and down_bytes > FIRST_BYTES:
            self.first_chunk, self.first_bytes = now, down_bytes
        if self.fetched is None and (found := fetched(self.server.lines)) is not None:
            self.fetched = now
            self.payload_bytes, self.peers = found
        if self.server.seconds_to_ready is not None:
            self.ready = self.started + self.server.seconds_to_ready
        elif self.server.returncode is not None:
            self.server.wait_ready(time.monotonic())

    def report(self) -> dict[str, Any]:
        """The numbers, for the figures."""
        return {
            "host": self.host,
            "layers": str(self.server.layers),
            "needed_bytes": self.needed_bytes,
            "started": self.started,
            "first_chunk": self.first_chunk,
            "first_bytes": self.first_bytes,
            "fetched": self.fetched,
            "ready": self.ready,
            "payload_bytes": self.payload_bytes,
            "peers": self.peers,
            "down_bytes": self.down_bytes,
            "up_bytes": self.up_bytes,
            "disk_bytes": disk_bytes(self.cache_folder),
            "cpu_seconds": cpu_seconds(self.server.pid),
        }


@dataclass(slots=True)
class Watch:
    """Looks at all joiners of one run, again and again."""

    lab: WanLab
    seeders: Sequence[str]  # hosts
    seeder_pids: Sequence[int]
    joiners: list[Joiner] = field(default_factory=list)
    timeline: list[dict[str, float]] = field(default_factory=list)
    _began_at: float = field(default_factory=time.monotonic)
    _up_before: int = 0
    _seeder_cpu_before: float = 0.0

    def __post_init__(self) -> None:
        self._up_before = self._seeders_up()
        self._seeder_cpu_before = sum(map(cpu_seconds, self.seeder_pids))

    @property
    def now(self) -> float:
        """Seconds since the watch began."""
        return time.monotonic() - self._began_at

    def until_ready(self, timeout_seconds: float) -> dict[str, Any]:
        """Look until all joiners are ready. Raises SwarmError if one fails, or takes too long."""
        while any(joiner.ready is None for joiner in self.joiners):
            self.lab.check()
            self._look()
            if self.now > timeout_seconds:
                late = next(joiner for joiner in self.joiners if joiner.ready is None)
                said = "\n    ".join(late.server.lines[-12:])
                raise SwarmError(
                    f"{late.host} isn't ready after {timeout_seconds:.0f} s; it said:\n    {said}"
                )
            time.sleep(LOOK_SECONDS)
        self._look(always=True)
        return {
            "joiners": [joiner.report() for joiner in self.joiners],
            "seeder_up_bytes": self._seeders_up() - self._up_before,
            "seeder_cpu_seconds": sum(map(cpu_seconds, self.seeder_pids)) - self._seeder_cpu_before,
            "timeline": self.timeline,
        }

    def _look(self, *, always: bool = False) -> None:
        now, counters = self.now, self.lab.counters()
        for joiner in self.joiners:
            found = counters[joiner.host]
            joiner.look(now, found.down.bytes, found.up.bytes)
        if always or not self.timeline or now - self.timeline[-1]["at"] >= _TIMELINE_SECONDS:
            self.timeline.append(
                {
                    "at": now,
                    "seeders_up": sum(counters[host].up.bytes for host in self.seeders) - self._up_before,
                    "joiners_down": sum(counters[joiner.host].down.bytes for joiner in self.joiners),
                    "joiners_up": sum(counters[joiner.host].up.bytes for joiner in self.joiners),
                    "overflowed": sum(
                        each.up.overflowed + each.down.overflowed for each in counters.values()
                    ),
                    "busy_seconds": _busy_seconds(),
                    "router_seconds": cpu_seconds(self.lab.router_pid),
                }
            )

    def _seeders_up(self) -> int:
        counters = self.lab.counters()
        return sum(counters[host].up.bytes for host in self.seeders)


def fetched(lines: Sequence[str]) -> tuple[int, int] | None:
    """Bytes of chunks, and the number of peers that sent them, from a server's log; None: not yet."""
    for line in lines:
        if found := _FETCHED.search(line):
            return int(found[1]), int(found[2])
    return None


def disk_bytes(folder: Path) -> int:
    """What the files below a folder take of the disk: their blocks, not their lengths."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and of its children, so far; 0 if it has ended."""
    try:
        process = psutil.Process(pid)
        times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    except psutil.Error:
        return 0.0
    return float(sum(each.user + each.system for each in times))


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)
