"""The owner's limits, held by duty; the test moves meters and signals."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict
from datetime import UTC
from pathlib import Path

import pytest

from p2pinfer.owner.files import OwnerFiles
from p2pinfer.owner.governor import Governor
from p2pinfer.owner.ledger.interval import EnergySource
from p2pinfer.owner.ledger.ledger import Ledger
from p2pinfer.owner.ledger.ledger_writer import LedgerWriter
from p2pinfer.owner.metering.energy import Look
from p2pinfer.owner.metering.power_cap import MIN_DUTY
from p2pinfer.owner.policy.conditions import Action
from p2pinfer.owner.policy.verdict import Limits, Verdict
from p2pinfer.owner.states import OwnerState
from p2pinfer.owner.status import read_statuses
from p2pinfer.server.config import ServerConfig
from p2pinfer.server.housekeeping import consumption, duty_control
from p2pinfer.server.housekeeping.housekeeping import Housekeeping
from p2pinfer.server.housekeeping.monthly_sharing import MonthlySharing
from p2pinfer.server.housekeeping.monthly_traffic import MonthlyTraffic
from p2pinfer.server.housekeeping.ready_server import ReadyServer
from p2pinfer.swarm.reach.report import ReachReport, WayIn
from p2pinfer.tasks import ending
from p2pinfer.types import Span
from p2pinfer.wire.traffic import Traffic
from tests.fakes import FakeServer
from tests.owner.signing import SERVER


class Machine:
    """The meter's counters, which a test moves."""

    def __init__(self) -> None:
        self.at = time.time()
        self.awake = self.cpu = self.busy = 0.0
        self.watts: float | None = None
        self.sent = 0
        self.shared = Traffic()

    def look(self, watts: float | None = None) -> Look:
        return Look(
            at=self.at,
            awake_seconds=self.awake,
            cpu_seconds=self.cpu,
            busy_seconds=self.busy,
            watts=self.watts,
            sent_bytes=self.sent,
            shared_bytes=self.shared.sent_bytes,
        )

    def go_on(self, seconds: float, *, ours: float, sent: int = 0) -> None:
        self.at += seconds
        self.awake += seconds
        self.cpu += ours
        self.busy += ours
        self.sent += sent


class Scene:
    """The housekeeping of a server that serves."""

    def __init__(self, folder: Path, ledger: LedgerWriter, machine: Machine, *flags: str) -> None:
        self.files = OwnerFiles(folder)
        self.machine = machine
        self.ledger = ledger
        self.governor = Governor(self.files, zone=UTC)
        config = ServerConfig.from_args(["m", "--data-folder", str(folder), *flags])
        self.traffic = MonthlyTraffic(ledger, UTC)
        self.sharing = MonthlySharing(ledger, UTC, machine.shared)
        self.housekeeping = Housekeeping(
            config, SERVER.peer_id, self.files, ledger, self.governor, self.traffic, self.sharing
        )
        member = FakeServer(Span(0, 2), 2, 4096, 60.0, 4096)
        self.runner = member.runner
        self.announced = 0
        self.reach = ReachReport(way_in=WayIn.UNKNOWN)
        self.server = ReadyServer(
            layers=Span(0, 2),
            model_name="fake",
            sessions=member.sessions,
            runner=member.runner,
            reach=lambda: self.reach,
            daemon_pid=lambda: None,
            announce_soon=self._announce_soon,
        )

    def _announce_soon(self) -> None:
        self.announced += 1

    def limit(self, **limits: float) -> None:
        self.governor.verdict = Verdict(action=Action.RUN, causes=(), leaves_at=None, limits=Limits(**limits))

    def look(self, seconds: float = 5.0, *, ours: float = 5.0) -> None:
        """Let some time pass, with this much computing."""
        self.machine.go_on(seconds, ours=ours)
        self.housekeeping.hold_limits()


@pytest.fixture
async def scene(tmp_path, monkeypatch):
    machine = Machine()
    monkeypatch.setattr(consumption.Usage, "look", lambda usage, watts=None: machine.look(watts))
    monkeypatch.setattr(duty_control, "processors", lambda: 4)
    with LedgerWriter(tmp_path / "ledger.sqlite") as ledger:
        scene = Scene(tmp_path, ledger, machine, "--threads", "2")
        with scene.housekeeping.attending(scene), scene.runner:
            yield scene


async def test_a_share_of_the_processors_becomes_a_duty_and_is_announced(scene):
    """A quarter of four processors is half the time of two threads."""
    scene.limit(cpu_share=0.25)
    scene.look()
    assert scene.runner.duty == 0.5
    assert scene.announced == 1
    scene.limit(cpu_share=1.0)
    scene.look()
    assert scene.runner.duty == 1.0


async def test_a_power_cap_begins_with_a_guess_and_is_then_held_by_what_is_measured(scene):
    """Four cores at 8 W each can draw 32 W; the cap is half of it."""
    scene.limit(watts=16.0)
    scene.look()
    assert scene.runner.duty == 0.5
    scene.machine.watts = 24.0
    scene.look()
    assert scene.runner.duty < 0.5
    lower = scene.runner.duty
    scene.machine.watts = 15.5  # within the band
    scene.look()
    scene.look()
    assert scene.runner.duty <= lower


async def test_the_status_says_how_others_reach_the_server(scene):
    scene.reach = ReachReport(
        way_in=WayIn.DIRECT, endpoints=("8.8.8.8:4600",), is_relay=True, relayed_bytes=12_000_000
    )
    status = scene.housekeeping.status()
    assert status.reached == "reached: directly at 8.8.8.8:4600"
    assert status.relaying == "0 connections now, 12 MB today, no limit"
    assert status.reach["way_in"] == "direct"
    assert json.loads(json.dumps(asdict(status)))["reach"] == status.reach


async def test_a_cap_that_cannot_be_held_is_told(scene):
    scene.machine.watts = 90.0
    scene.limit(watts=60.0)
    for _ in range(60):
        scene.look()
    assert scene.runner.duty == pytest.approx(MIN_DUTY)
    assert "60 W can't be held" in scene.housekeeping.status().troubles["power cap"]


async def test_what_a_period_has_used_is_in_the_ledger_when_its_state_changes(scene):
    scene.housekeeping.enter(OwnerState.SERVING, "the policy allows it")
    scene.machine.go_on(600.0, ours=100.0, sent=5000)
    scene.housekeeping.enter(OwnerState.DRAINING, "gear is D")
    await scene.ledger.ask(lambda ledger: None)
    with Ledger.open(scene.files.ledger) as ledger:
        interval = list(ledger.intervals(since=0.0, until=1e12))[-1]
        states = [change.state for change in ledger.transitions(since=0.0, until=1e12)]
    assert (interval.state, interval.cpu_seconds, interval.sent_bytes) == (OwnerState.SERVING, 100.0, 5000)
    assert (interval.joules, interval.energy_source) == (800.0, EnergySource.ESTIMATE)
    assert states == [OwnerState.SERVING, OwnerState.DRAINING]
    assert scene.traffic.readings()["traffic_bytes"].value == 5000.0


async def test_traffic_counts_before_it_is_written_down(scene):
    scene.machine.go_on(5.0, ours=1.0, sent=700)
    scene.housekeeping.hold_limits()
    assert scene.traffic.readings()["traffic_bytes"].value == 700.0


async def test_what_was_shared_is_a_part_of_what_was_sent_and_told_at_once(scene):
    scene.machine.shared.count_sent(3000)
    scene.machine.go_on(5.0, ours=1.0, sent=5000)
    assert scene.housekeeping.status().shared_bytes == 3000
    scene.housekeeping.enter(OwnerState.DRAINING, "gear is D")
    [interval] = await scene.ledger.ask(lambda ledger: list(ledger.intervals()))
    assert (interval.sent_bytes, interval.shared_bytes) == (5000, 3000)
    assert scene.housekeeping.status().shared_bytes == 3000


async def test_much_sharing_is_written_down_soon(scene):
    """Other servers of the same owner, who share the month's gigabytes, can read it then."""
    scene.machine.shared.count_sent(50_000_000)
    scene.machine.go_on(5.0, ours=1.0, sent=50_000_000)
    looking = asyncio.create_task(scene.housekeeping.run_forever())
    async with ending(looking):
        scene.governor.on_change()
        while not (shared := await scene.ledger.ask(lambda ledger: ledger.shared_bytes(since=0))):
            pass
    assert shared == 50_000_000


async def test_the_same_state_for_another_reason_is_no_change_for_the_ledger(scene):
    scene.housekeeping.enter(OwnerState.PAUSED, "gear is D")
    scene.housekeeping.enter(OwnerState.PAUSED, "plugged in is false")
    await scene.ledger.ask(lambda ledger: None)
    with Ledger.open(scene.files.ledger) as ledger:
        assert [change.words for change in ledger.transitions(since=0.0, until=1e12)] == ["gear is D"]
    [status] = read_statuses(scene.files.statuses)
    assert status.words == "plugged in is false"
