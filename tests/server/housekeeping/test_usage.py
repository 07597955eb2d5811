"""What a server has used, with its p2pd: never less than before, even if p2pd ends or starts again."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from p2pinfer.server.housekeeping import usage
from p2pinfer.server.housekeeping.usage import Usage
from p2pinfer.swarm.reach.relay.passed import PassedOn
from p2pinfer.types import Span
from p2pinfer.wire import traffic as wire_traffic
from p2pinfer.wire.traffic import Traffic
from tests.fakes import fake_swarm, random_hidden
from tests.server.wire_client import opened

MEGABYTE = 1_000_000

DAEMON = """
import os, sys, time
for line in sys.stdin:
    what, number = line.split()
    if what == "compute":
        until = time.process_time() + float(number)
        while time.process_time() < until:
            pass
    elif what == "write":
        left = int(number)
        while left:
            left -= os.write(int(sys.argv[1]), bytes(min(left, 65536)))
    else:
        left = int(number)
        while left:
            left -= len(os.read(int(sys.argv[1]), min(left, 65536)))
    print("done", flush=True)
"""


class Daemon:
    """A process in the place of p2pd: it computes, reads and writes on command."""

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", DAEMON, str(theirs.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
            )
        self.pid: int | None = self._process.pid

    def begin(self, what: str, number: float) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what} {number}\n".encode())
        self._process.stdin.flush()

    def finish(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"done\n"

    def do(self, what: str, number: float) -> None:
        self.begin(what, number)
        self.finish()

    def send(self, number: int) -> None:
        """Have the process write this number of bytes to our end of the pair."""
        self.begin("write", number)
        while number:
            number -= len(self.socket.recv(min(number, 65536)))
        self.finish()

    def receive(self, number: int) -> None:
        """Have the process read this number of bytes from our end of the pair."""
        self.begin("read", number)
        self.socket.sendall(bytes(number))
        self.finish()

    def end(self) -> None:
        """Kill the process and wait for it, as asyncio does for p2pd."""
        self._process.kill()
        self._process.communicate()
        self.socket.close()
        self.pid = None


@contextmanager
def daemon() -> Iterator[Daemon]:
    running = Daemon()
    try:
        running.do("compute", 0)  # reads at Python's start are no traffic
        yield running
    finally:
        running.end()


@pytest.fixture
def direct(monkeypatch: pytest.MonkeyPatch) -> Traffic:
    """Traffic with other machines, from zero."""
    return count_from_zero(monkeypatch, "DIRECT")


@pytest.fixture
def tunnelled(monkeypatch: pytest.MonkeyPatch) -> Traffic:
    """Traffic with p2pd, from zero."""
    return count_from_zero(monkeypatch, "TUNNELLED")


def count_from_zero(monkeypatch: pytest.MonkeyPatch, name: str) -> Traffic:
    traffic = Traffic()
    for module in (wire_traffic, usage):
        monkeypatch.setattr(module, name, traffic)
    return traffic


def test_what_p2pd_computes_counts_and_still_does_when_it_has_ended(tmp_path):
    """The end of p2pd is counted once, in every order of its end, a reading and its restart."""
    with daemon() as first:
        meter = Usage(lambda: current.pid, powercap=tmp_path)
        current = first
        before = meter.look()
        first.do("compute", 0.3)
        after = meter.look()
        assert after.cpu_seconds - before.cpu_seconds >= 0.28  # in ticks of 10 ms
        first.do("compute", 0.3)
    gone = meter.look()
    assert gone.cpu_seconds - before.cpu_seconds >= 0.58
    with daemon() as second:
        current = second
        second.do("compute", 0.3)
        again = meter.look()
        own = again.cpu_seconds - before.cpu_seconds
    assert 0.88 <= own < 1.5  # not counted twice
    assert meter.look().cpu_seconds >= again.cpu_seconds
    assert again.busy_seconds > before.busy_seconds
    assert again.awake_seconds > before.awake_seconds


def test_without_p2pd_this_process_alone_counts(tmp_path):
    meter = Usage(lambda: None, powercap=tmp_path)
    before = meter.look(watts=31.5)
    assert before.watts == 31.5 and before.packages == ()
    assert meter.look().cpu_seconds >= before.cpu_seconds > 0


def test_a_p2pd_that_ended_unnoticed_is_no_error(tmp_path):
    with daemon() as gone:
        pid = gone.pid
    assert Usage(lambda: pid, powercap=tmp_path).look().cpu_seconds > 0


@pytest.mark.skipif(not psutil.LINUX, reason="only Linux tells what a process reads and writes")
def test_what_p2pd_sends_and_receives_counts_also_after_its_restart(tmp_path, direct, tunnelled):
    with daemon() as first:
        current = first
        meter = Usage(lambda: current.pid, powercap=tmp_path)
        begin = meter.look()
        first.send(MEGABYTE)
        first.receive(3 * MEGABYTE)
        full = meter.look()
    assert 1.0 <= (full.sent_bytes - begin.sent_bytes) / MEGABYTE < 1.1
    assert 3.0 <= (full.received_bytes - begin.received_bytes) / MEGABYTE < 3.1
    assert meter.look().sent_bytes == full.sent_bytes
    with daemon() as second:
        current = second
        restarted = meter.look()
        assert restarted.sent_bytes >= full.sent_bytes and restarted.received_bytes >= full.received_bytes
        second.send(MEGABYTE)
        again = meter.look()
    assert 2.0 <= (again.sent_bytes - begin.sent_bytes) / MEGABYTE < 2.2


@pytest.mark.skipif(not psutil.LINUX, reason="only Linux tells what a process reads and writes")
def test_what_the_tunnel_carries_counts_once(tmp_path, direct, tunnelled):
    """p2pd gets data from another machine and gives it to us: it reads and writes, but sends nothing."""
    with daemon() as running:
        meter = Usage(lambda: running.pid, powercap=tmp_path)
        before = meter.look()
        running.receive(2 * MEGABYTE)  # from another machine
        running.send(2 * MEGABYTE)  # to us
        tunnelled.count_received(2 * MEGABYTE)
        after = meter.look()
    assert 2.0 <= (after.received_bytes - before.received_bytes) / MEGABYTE < 2.1
    assert (after.sent_bytes - before.sent_bytes) / MEGABYTE < 0.1


@pytest.mark.skipif(not psutil.LINUX, reason="only Linux tells what a process reads and writes")
def test_what_is_relayed_counts_once_each_way(tmp_path, direct, tunnelled, monkeypatch):
    """p2pd gets it from one machine, gives it to us, gets it back, and sends it to another machine."""
    monkeypatch.setattr(usage, "PASSED_ON", passed := PassedOn())
    with daemon() as running:
        meter = Usage(lambda: running.pid, powercap=tmp_path)
        before = meter.look()
        for _ in range(2):
            running.receive(MEGABYTE)
            running.send(MEGABYTE)
        passed.count(MEGABYTE)
        after = meter.look()
    assert 1.0 <= (after.received_bytes - before.received_bytes) / MEGABYTE < 1.1
    assert 1.0 <= (after.sent_bytes - before.sent_bytes) / MEGABYTE < 1.1


def test_where_nobody_tells_what_p2pd_sends_at_least_what_the_tunnel_carried_counts(
    tmp_path, direct, tunnelled
):
    tunnelled.count_received(700)
    tunnelled.count_sent(30)
    direct.count_sent(4)
    look = Usage(lambda: None, powercap=tmp_path).look()
    assert (look.sent_bytes, look.received_bytes) == (34, 700)


async def test_lanes_and_calls_are_counted_at_both_ends(direct, tunnelled):
    """A client and a server in one process: what one sends over TCP, the other receives in full."""
    hidden = random_hidden(60)
    async with fake_swarm([Span(0, 2)]) as swarm, opened(swarm) as route:
        calls = direct.sent_bytes
        await route.run(hidden, 0)
    assert calls > 0  # the opening
    assert tunnelled.sent_bytes == tunnelled.received_bytes == 0
    for counted in (direct.sent_bytes, direct.received_bytes):
        assert counted >= calls + 2 * hidden.nbytes  # to the server and back
