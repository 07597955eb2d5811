"""In and out of the swarm as the owner says. All of the owner's files are real; a stay is a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from p2pinfer.errors import EngineError, P2PInferError, SwarmUnreachableError
from p2pinfer.owner import governor
from p2pinfer.owner.consent import revoke_consent, write_consent
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.owner.ledger.ledger import Ledger
from p2pinfer.owner.states import OwnerState
from p2pinfer.owner.status import Status, read_statuses
from p2pinfer.server.config import ServerConfig
from p2pinfer.server.life import lifecycle
from p2pinfer.server.life.lifecycle import Ending, serve
from p2pinfer.server.life.serving import Controls
from p2pinfer.swarm.membership.membership import Remembered
from p2pinfer.types import PeerId
from tests.server.wire_client import until

SECONDS = 5.0
POLICY = """\
version = 1
[when]
parked = true
machine_max_celsius = 80
[signals]
parked = {{ file = "{0}/parked", called = "brake" }}
machine_celsius = {{ file = "{0}/celsius" }}
poll_seconds = 0.1
"""


@dataclass
class Stays:
    """What happened in the swarm, and what is to happen."""

    controls: list[Controls] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    ready_at_once: bool = True
    fails_with: list[P2PInferError | None] = field(default_factory=list)
    cancelled: int = 0
    drained: asyncio.Event = field(default_factory=asyncio.Event)

    async def stay(self, config: object, identity: object, book: object, controls: Controls) -> None:
        self.controls.append(controls)
        self.begun.set()
        error = self.fails_with.pop(0) if self.fails_with else None
        if error is not None:
            raise error
        try:
            if not self.ready_at_once:
                await asyncio.Event().wait()
            controls.ready.set()
            await controls.stopping.wait()
            drained = asyncio.create_task(self.drained.wait())
            leaving = asyncio.create_task(controls.leaving.wait())
            await asyncio.wait({drained, leaving}, return_when=asyncio.FIRST_COMPLETED)
            drained.cancel()
            leaving.cancel()
            controls.remembered = Remembered({PeerId(f"peer of stay {len(self.controls)}"): ()}, ("/port",))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


class Program:
    """A server as `__main__` runs it."""

    def __init__(self, folder: Path, stays: Stays, *flags: str) -> None:
        self.files = OwnerFiles(folder)
        self.stays = stays
        self.lines: list[str] = []
        self.ending = Ending()
        config = ServerConfig.from_args(["m", "--data-folder", str(folder), *flags])
        self.serving = asyncio.create_task(serve(config, self.lines.append, self.ending))

    def tell(self, signal: str, text: str) -> None:
        (self.files.folder / signal).write_text(text)

    @property
    def status(self) -> Status:
        [status] = read_statuses(self.files.statuses)
        return status

    @property
    def states(self) -> list[tuple[str, str]]:
        """All it went through, with the reasons, from the ledger."""
        with Ledger.open(self.files.ledger) as ledger:
            return [(change.state, change.words) for change in ledger.transitions(since=0.0, until=1e12)]

    async def reaches(self, state: OwnerState) -> Status:
        async with asyncio.timeout(SECONDS):
            while self.serving and (not self.files.statuses.exists() or self.status.state is not state):
                if self.serving.done():
                    self.serving.result()
                await asyncio.sleep(0.01)
        return self.status

    async def ended(self) -> None:
        await asyncio.wait_for(self.serving, SECONDS)


@pytest.fixture
def stays(monkeypatch: pytest.MonkeyPatch) -> Stays:
    stays = Stays()
    monkeypatch.setattr(lifecycle, "stay", stays.stay)
    monkeypatch.setattr(governor, "TICK_SECONDS", 0.02)
    monkeypatch.setattr(lifecycle, "_FIRST_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(lifecycle, "_FIRST_SIGNALS_SECONDS", 0.5)
    return stays


@asynccontextmanager
async def program(folder: Path, stays: Stays, *flags: str, policy: bool = True) -> AsyncIterator[Program]:
    write_consent(OwnerFiles(folder).consent)
    (folder / "parked").write_text("true")
    (folder / "celsius").write_text("50")
    if policy:
        OwnerFiles(folder).policy.write_text(POLICY.format(folder))
    running = Program(folder, stays, *flags)
    try:
        yield running
    finally:
        running.serving.cancel()
        await asyncio.wait({running.serving})


async def test_without_a_policy_it_serves_until_its_owner_ends_it(tmp_path, stays):
    async with program(tmp_path, stays, policy=False) as running:
        await running.reaches(OwnerState.SERVING)
        running.ending.urge()
        await running.reaches(OwnerState.DRAINING)
        assert not stays.controls[0].leaving.is_set()
        stays.drained.set()
        await running.ended()
    assert [state for state, _ in running.states] == ["joining", "serving", "draining", "off"]
    assert running.status.state is OwnerState.OFF
    assert running.status.words == "its owner asked for it"


async def test_asked_twice_it_leaves_at_once(tmp_path, stays):
    async with program(tmp_path, stays, policy=False) as running:
        await running.reaches(OwnerState.SERVING)
        running.ending.urge()
        await running.reaches(OwnerState.DRAINING)
        running.ending.urge()
        await running.ended()


async def test_asked_before_it_is_ready_it_ends_and_says_so(tmp_path, stays):
    stays.ready_at_once = False
    async with program(tmp_path, stays, policy=False) as running:
        await running.reaches(OwnerState.JOINING)
        running.ending.urge()
        await running.ended()
    assert stays.cancelled == 1
    assert running.lines[-1] == "stopped before it was ready"


async def test_when_the_car_leaves_it_drains_pauses_and_comes_back_by_itself(tmp_path, stays):
    stays.drained.set()
    async with program(tmp_path, stays) as running:
        await running.reaches(OwnerState.SERVING)
        running.tell("parked", "false")
        paused = await running.reaches(OwnerState.PAUSED)
        assert paused.words == "brake is false"
        assert stays.controls[0].stopping.is_set()
        running.tell("parked", "true")
        await running.reaches(OwnerState.SERVING)
    assert running.lines == ["draining: brake is false", "paused: brake is false"]
    assert [state for state, _ in running.states][:5] == [
        "joining",
        "serving",
        "draining",
        "paused",
        "joining",
    ]
    assert stays.controls[1].remembered.peers  # whom it knew when it left


async def test_what_is_dangerous_stops_at_once(tmp_path, stays):
    async with program(tmp_path, stays) as running:
        await running.reaches(OwnerState.SERVING)
        running.tell("celsius", "95")
        await running.reaches(OwnerState.PAUSED)
        assert stays.controls[0].leaving.is_set()
        assert "draining" not in [state for state, _ in running.states]
    assert running.lines[0].startswith("stopping: ")


async def test_a_stop_cuts_a_drain_short(tmp_path, stays):
    async with program(tmp_path, stays) as running:
        await running.reaches(OwnerState.SERVING)
        running.tell("parked", "false")
        await running.reaches(OwnerState.DRAINING)
        running.tell("celsius", "95")
        await running.reaches(OwnerState.PAUSED)
        assert stays.controls[0].leaving.is_set()


async def test_a_policy_that_says_no_while_it_joins_ends_that(tmp_path, stays):
    stays.ready_at_once = False
    async with program(tmp_path, stays) as running:
        await running.reaches(OwnerState.JOINING)
        running.tell("parked", "false")
        await running.reaches(OwnerState.PAUSED)
        assert stays.cancelled == 1


async def test_it_does_not_join_before_the_policy_allows_it(tmp_path, stays):
    (tmp_path / "parked").write_text("false")
    write_consent(OwnerFiles(tmp_path).consent)
    OwnerFiles(tmp_path).policy.write_text(POLICY.format(tmp_path))
    (tmp_path / "celsius").write_text("50")
    running = Program(tmp_path, stays)
    await running.reaches(OwnerState.PAUSED)
    assert stays.controls == []
    running.ending.urge()  # and while it is paused it ends without delay
    await running.ended()
    assert stays.controls == []


async def test_consent_taken_back_ends_the_program(tmp_path, stays):
    async with program(tmp_path, stays) as running:
        await running.reaches(OwnerState.SERVING)
        revoke_consent(running.files.consent)
        await running.ended()
    assert stays.controls[0].leaving.is_set()
    assert running.status.state is OwnerState.OFF
    assert "consent" in running.status.words
    assert "consent" in running.lines[-1]


async def test_who_cannot_join_at_the_start_says_why_and_ends(tmp_path, stays):
    stays.fails_with = [SwarmUnreachableError("nobody answers at x")]
    async with program(tmp_path, stays) as running:
        with pytest.raises(SwarmUnreachableError):
            await running.ended()
    assert running.status.words == "nobody answers at x"


async def test_who_cannot_come_back_yet_tries_again(tmp_path, stays):
    """The Wi-Fi is back a little later than the signal that says so. Peers are remembered, ports are not."""
    stays.drained.set()
    stays.fails_with = [
        None,
        SwarmUnreachableError("nobody answers"),
        SwarmUnreachableError("nobody answers"),
    ]
    async with program(tmp_path, stays) as running:
        await running.reaches(OwnerState.SERVING)
        running.tell("parked", "false")
        await running.reaches(OwnerState.PAUSED)
        running.tell("parked", "true")
        await running.reaches(OwnerState.SERVING)
    assert len(stays.controls) == 4
    remembered = [controls.remembered for controls in stays.controls]
    assert remembered[1] == Remembered({PeerId("peer of stay 1"): ()}, ("/port",))
    assert remembered[3] == Remembered({PeerId("peer of stay 1"): ()}, ())
    assert any("trying again" in line for line in running.lines)


async def test_a_fault_of_ours_ends_the_program_with_its_reason(tmp_path, stays):
    stays.fails_with = [EngineError("the computing thread failed")]
    async with program(tmp_path, stays) as running:
        with pytest.raises(EngineError):
            await running.ended()
    assert running.status.words == "the computing thread failed"


async def test_how_long_a_drain_may_take_is_the_policys_unless_a_flag_says_otherwise(tmp_path, stays):
    async with program(tmp_path, stays, policy=False) as running:
        running.files.policy.write_text("version = 1\n[timing]\ndrain_seconds = 17\n")
        await running.reaches(OwnerState.SERVING)
        await until(lambda: stays.controls[0].drain_seconds() == 17)


async def test_a_flag_says_how_long_a_drain_may_take(tmp_path, stays):
    async with program(tmp_path, stays, "--drain-seconds", "3", policy=False) as running:
        await running.reaches(OwnerState.SERVING)
        assert stays.controls[0].drain_seconds() == 3


async def test_the_status_names_what_is_known_and_what_is_wrong(tmp_path, stays):
    async with program(tmp_path, stays) as running:
        await running.reaches(OwnerState.SERVING)
        (tmp_path / "parked").unlink()
        await running.reaches(OwnerState.PAUSED)
        status = running.status
    assert "celsius" in status.signals["machine_celsius"].origin
    assert any("parked" in origin for origin in status.troubles)
