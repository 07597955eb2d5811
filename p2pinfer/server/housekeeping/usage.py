"""What this server has used so far, by the counters of the machine: computing time, traffic, energy.

A look reads five small files of the kernel, in well under a millisecond.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from p2pinfer.owner.metering.energy import Look
from p2pinfer.owner.metering.rapl import POWERCAP_FOLDER, read_packages
from p2pinfer.swarm.reach.relay.passed import PASSED_ON
from p2pinfer.wire.traffic import DIRECT, SHARED, TUNNELLED


class Usage:
    """Reads the counters. `daemon_pid()` is the process of p2pd now; None while it isn't running.

    Computing time: this process, its children that have ended (a p2pd that was restarted, commands that
    signals come from), and the p2pd that runs.

    Traffic: lanes and gRPC are counted in this process, and so is what it relays between others. Linux tells
    how much p2pd has read and written. Without the bytes that p2pd carried to and from this process, that is
    an upper estimate of what it sent and received over TCP: it contains a few control messages within the
    machine. The traffic of a p2pd between the
    last look and its end is lost. On other systems p2pd's traffic isn't known; there it counts as the bytes
    that p2pd carried for this process.
    """

    def __init__(self, daemon_pid: Callable[[], int | None], *, powercap: Path = POWERCAP_FOLDER) -> None:
        self._daemon_pid = daemon_pid
        self._powercap = powercap
        self._daemon: psutil.Process | None = None
        self._cpu_seconds = 0.0
        self._read_bytes = self._written_bytes = 0  # by the p2pd that runs now
        self._former_read_bytes = self._former_written_bytes = 0  # by every p2pd before it
        self._sent_bytes = self._received_bytes = 0  # by every p2pd, to and from other machines

    def look(self, watts: float | None = None) -> Look:
        """The counters now. `watts` comes from the owner's meter; None without one, or if it is silent."""
        # Children first: if p2pd ends between the two, its time is missing once, not counted twice.
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
            shared_bytes=SHARED.sent_bytes,
        )

    def _look_at_daemon(self) -> float:
        """Return the computing time of p2pd in seconds, and keep its traffic. 0.0 if it isn't running."""
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
        """p2pd reads and writes each byte of a stream once for this process; those bytes are taken off.

        What is relayed comes from p2pd and goes back to it: it counts once as received, and once as sent.
        """
        read = self._former_read_bytes + self._read_bytes
        written = self._former_written_bytes + self._written_bytes
        to_daemon = TUNNELLED.sent_bytes + PASSED_ON.total_bytes
        from_daemon = TUNNELLED.received_bytes + PASSED_ON.total_bytes
        sent = max(to_daemon, written - from_daemon)
        received = max(from_daemon, read - to_daemon)
        self._sent_bytes = max(self._sent_bytes, sent)
        self._received_bytes = max(self._received_bytes, received)


def _busy_seconds() -> float:
    """Busy time of all processors since the machine started, without waiting for disks or other guests."""
    times = psutil.cpu_times()
    return float(
        times.user + times.nice + times.system + getattr(times, "irq", 0.0) + getattr(times, "softirq", 0.0)
    )
