"""What was shared this month, by all servers of one owner: nothing is missing, nothing counts twice."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import replace
from datetime import UTC

import pytest

from p2pinfer.errors import LedgerError
from p2pinfer.owner.ledger.interval import Interval
from p2pinfer.owner.ledger.ledger_writer import LedgerWriter
from p2pinfer.owner.policy.policy import Policy, Sharing
from p2pinfer.server.housekeeping import monthly_sharing
from p2pinfer.server.housekeeping.monthly_sharing import MonthlySharing
from p2pinfer.server.housekeeping.sharing_allowance import SharingAllowance
from p2pinfer.sharing.give.activity import Activity
from p2pinfer.sharing.give.gate import Gate
from p2pinfer.wire.traffic import Traffic
from tests.owner.ledger.test_ledger import INTERVAL


class Server:
    """A server that shares, with a ledger that others write to as well."""

    def __init__(self, ledger: LedgerWriter) -> None:
        self.ledger = ledger
        self.counter = Traffic()
        self.counter.count_sent(999)  # in the life of an earlier server in this process
        self.sharing = MonthlySharing(ledger, UTC, self.counter)

    def share(self, number: int) -> None:
        self.counter.count_sent(number)

    def write(self) -> None:
        """End an interval, as housekeeping does."""
        interval = shared_now(self.sharing.unwritten_bytes)
        self.ledger.note(lambda ledger: ledger.add_interval(interval))
        self.sharing.written(interval)


def shared_now(number: int) -> Interval:
    return replace(INTERVAL, started_at=time.time(), ended_at=time.time() + 60, shared_bytes=number)


@pytest.fixture
def month(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the month began; a test may begin a new one."""
    began = [time.time() - 3600]
    monkeypatch.setattr(monthly_sharing, "month_began_at", lambda zone: began[0])
    return began


@pytest.fixture
async def server(tmp_path, month):
    with LedgerWriter(tmp_path / "ledger.sqlite") as ledger:
        yield Server(ledger)


async def test_every_byte_counts_at_once_and_only_once(server):
    """Before it is written, when it is written, and after it was read again."""
    server.share(100)
    assert server.sharing.total_bytes == 100
    server.write()
    assert (server.sharing.total_bytes, server.sharing.unwritten_bytes) == (100, 0)
    server.share(20)
    await server.sharing.refresh()
    assert server.sharing.total_bytes == 120
    server.write()
    await server.sharing.refresh()
    assert server.sharing.total_bytes == 120


async def test_what_other_servers_share_counts_when_the_ledger_is_read(server):
    server.share(100)
    server.write()
    server.ledger.note(lambda ledger: ledger.add_interval(shared_now(1000)))
    await server.sharing.refresh()
    assert server.sharing.total_bytes == 1100
    assert (await MonthlySharing.of(server.ledger, UTC, Traffic())).total_bytes == 1100


async def test_an_interval_that_is_written_while_the_ledger_is_read_counts_once(server):
    """The question was asked before, and its answer comes after."""
    server.share(100)
    reading = asyncio.create_task(server.sharing.refresh())
    await asyncio.sleep(0)
    server.write()
    await reading
    assert server.sharing.total_bytes == 100


async def test_a_new_month_begins_with_nothing(server, month):
    server.share(100)
    server.write()
    server.share(20)
    month[0] = time.time() + 3600
    await server.sharing.refresh()
    assert server.sharing.total_bytes == 20  # the ledger gets it in the new month


async def test_a_full_disk_makes_nobody_share_more(server, monkeypatch):
    """The interval can't be written, but this server remembers."""

    def fail(ledger: object, interval: Interval) -> None:
        raise LedgerError("the disk is full")

    monkeypatch.setattr("p2pinfer.owner.ledger.ledger.Ledger.add_interval", fail)
    server.share(100)
    server.write()
    await server.sharing.refresh()
    assert server.sharing.total_bytes == 100


async def test_the_months_gigabytes_are_given_to_the_last_part_and_not_one_more(server):
    """Over intervals, readings of the ledger, and what another server has shared."""
    part = 40_000
    policy = Policy(sharing=Sharing(monthly_gb=20 * part / 1e9))
    allowance = SharingAllowance(lambda: policy, lambda: server.sharing.total_bytes, lambda: 0)
    quiet = Activity(waiting=False, seconds_since_step=math.inf)
    gate = Gate(allowance.limits, lambda: quiet, counter=server.counter)
    server.ledger.note(lambda ledger: ledger.add_interval(shared_now(5 * part)))
    await server.sharing.refresh()
    given = 0
    while gate.may_begin() is None:
        await gate.wait_to_send(part)
        gate.sent(part)
        given += 1
        if given % 4 == 0:
            server.write()
        if given % 6 == 0:
            await server.sharing.refresh()
    assert given == 15
