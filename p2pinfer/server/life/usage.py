"""What this server has used so far, as the counters of the machine show it: computing time, traffic, energy.

A look reads five small files of the kernel's, in well under a millisecond.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from p2pinfer.owner.metering.energy import Look
from p2pinfer.owner.metering.rapl import POWERCAP_FOLDER, read_packages
from p2pinfer.wire.lanes import DIRECT, TUNNELLED


class Usage:
    """Looks at the counters. `daemon_pid()` tells which process is p2pd now, if one is.

    Computing time: this process, the children that it has waited for (a p2pd that was restarted is among
    them, and so are commands that signals come from), and the p2pd that runs.

    Traffic: lanes and gRPC are counted here. Of p2pd Linux tells what it has read and written; without
    what it carried to and from this process that is an upper estimate of what it sent and received (the
    swarm's control messages within the machine, a few, are in it). What a p2pd does between the last look
    and its end is lost. On other systems p2pd's traffic isn't known, and counts as what it carried for us.
    """

    def __init__(self, daemon_pid: Callable[[], int | None], *, powercap: Path = POWERCAP_FOLDER) -> None:
        self._daemon_pid = daemon_pid
        self._powercap = powercap
        self._daemon: psutil.Process | None = None
        self._cpu_seconds = 0.0
        self._read_bytes = self._written_bytes = 0  # by the p2pd that runs
        self._former_read_bytes = self._former_written_bytes = 0  # by those before it
        self._sent_bytes = self._received_bytes = 0  # by all of them, between here and other machines

    def look(self, watts: float | None = None) -> Look:
        """The counters now; `watts` is what the owner's meter shows."""
        # Children first: if p2pd ends between the two its time is missing once, instead of being there twice.
        own = os.times()
        daemon_seconds = self._look_at_daemon()
        seconds = own.user + own.system + own.children_user + own.children_system + daemon_seconds
        self._cpu_seconds = max(self._cpu_seconds, seconds)
        self._estimate_traffic()
        return Look(
            at=time.time(),
            awake_seconds=time.monotonic(),
            cpu_seconds=self._cpu_seconds,
            busy_seconds=_busy_seconds(),
            packages=read_packages(self._powercap),
            watts=watts,
            sent_bytes=DIRECT.sent_bytes + self._sent_bytes,
            received_bytes=DIRECT.received_bytes + self._received_bytes,
        )

    def _look_at_daemon(self) -> float:
        """Its computing time; its traffic is kept."""
        try:
            pid = self._daemon_pid()
            if pid is None:
                return 0.0
            if self._daemon is None or self._daemon.pid != pid or not self._daemon.is_running():
                self._follow(psutil.Process(pid))
            assert self._daemon is not None
            with self._daemon.oneshot():
                times = self._daemon.cpu_times()
                if psutil.LINUX:
                    counters = self._daemon.io_counters()
                    self._read_bytes = counters.read_chars
                    self._written_bytes = counters.write_chars
        except psutil.Error:  # it has ended
            return 0.0
        return float(times.user + times.system)

    def _follow(self, daemon: psutil.Process) -> None:
        self._daemon = daemon
        self._former_read_bytes += self._read_bytes
        self._former_written_bytes += self._written_bytes
        self._read_bytes = self._written_bytes = 0

    def _estimate_traffic(self) -> None:
        """Of what p2pd reads and writes, half of the tunnel's bytes go to us or come from us."""
        read = self._former_read_bytes + self._read_bytes
        written = self._former_written_bytes + self._written_bytes
        sent = max(TUNNELLED.sent_bytes, written - TUNNELLED.received_bytes)
        received = max(TUNNELLED.received_bytes, read - TUNNELLED.sent_bytes)
        self._sent_bytes = max(self._sent_bytes, sent)
        self._received_bytes = max(self._received_bytes, received)


def _busy_seconds() -> float:
    """Of all processors since the machine started, without what it waited for disks or other guests."""
    times = psutil.cpu_times()
    return float(
        times.user + times.nice + times.system + getattr(times, "irq", 0.0) + getattr(times, "softirq", 0.0)
    )
