"""A server joins and leaves as the owner says. The owner's files are real, a serving period is a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from p2pinfer.backoff import Backoff
from p2pinfer.errors import (
    EngineError,
    HubUnreachableError,
    ModelError,
    P2PInferError,
    StoreError,
    SwarmUnreachableError,
)
from p2pinfer.owner import governor
from p2pinfer.owner.consent import revoke_consent, write_consent
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.owner.ledger.ledger import Ledger
from p2pinfer.owner.states import OwnerState
from p2pinfer.owner.status import Status, read_statuses
from p2pinfer.server.config import ServerConfig
from p2pinfer.server.life import lifecycle
from p2pinfer.server.life.lifecycle import serve
from p2pinfer.server.life.serving_period import ServingPeriod
from p2pinfer.server.life.shutdown_request import ShutdownRequest
from p2pinfer.swarm.membership.membership import Remembered
from p2pinfer.tasks import first_of
from p2pinfer.types import PeerId
from tests.server.wire_client import until

SECONDS = 20.0
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
class Periods:
    """What happened in the swarm, and what will happen next."""

    begun: list[ServingPeriod] = field(default_factory=list)
    ready_at_once: bool = True
    fails_with: list[P2PInferError | None] = field(default_factory=list)
    start_fails_with: P2PInferError | None = None
    cancelled: int = 0
    drained: asyncio.Event = field(default_factory=asyncio.Event)

    async def check_start(self, config: object) -> None:
        if self.start_fails_with is not None:
            raise self.start_fails_with

    async def serve_period(
        self, config: object, identity: object, ledger: object, period: ServingPeriod
    ) -> None:
        self.begun.append(period)
        error = self.fails_with.pop(0) if self.fails_with else None
        if error is not None:
            raise error
        try:
            if not self.ready_at_once:
                await asyncio.Event().wait()
            period.has_served = True
            period.ready.set()
            await period.stopping.wait()
            await first_of(self.drained.wait(), period.leaving.wait())
            peer = PeerId(f"peer of period {len(self.begun)}")
            period.remembered = Remembered({peer: ()}, ("/port",))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


class Program:
    """A server as `__main__` runs it."""

    def __init__(self, folder: Path, periods: Periods, *flags: str) -> None:
        self.files = OwnerFiles(folder)
        self.periods = periods
        self.lines: list[str] = []
        self.output_is_closed = False
        self.shutdown = ShutdownRequest()
        config = ServerConfig.from_args(["m", "--data-folder", str(folder), *flags])
        self.serving = asyncio.create_task(serve(config, self.say, self.shutdown))

    def say(self, line: str) -> None:
        """Print a line, as `__main__` does; here the output may have been closed."""
        if self.output_is_closed:
            raise BrokenPipeError
        self.lines.append(line)

    def tell(self, signal: str, text: str) -> None:
        (self.files.folder / signal).write_text(text)

    @property
    def status(self) -> Status:
        [status] = read_statuses(self.files.statuses)
        return status

    @property
    def states(self) -> list[tuple[str, str]]:
        """All states of the server with their reasons, from the ledger."""
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
def periods(monkeypatch: pytest.MonkeyPatch) -> Periods:
    periods = Periods()
    monkeypatch.setattr(lifecycle, "serve_period", periods.serve_period)
    monkeypatch.setattr(lifecycle, "check_start", periods.check_start)
    monkeypatch.setattr(governor, "TICK_SECONDS", 0.02)
    monkeypatch.setattr(lifecycle, "RETRIES", Backoff(first_seconds=0.05, most_seconds=0.05))
    monkeypatch.setattr(lifecycle, "FIRST_SIGNALS_SECONDS", 0.5)
    return periods


@asynccontextmanager
async def program(folder: Path, periods: Periods, *flags: str, policy: bool = True) -> AsyncIterator[Program]:
    write_consent(OwnerFiles(folder).consent)
    (folder / "parked").write_text("true")
    (folder / "celsius").write_text("50")
    if policy:
        OwnerFiles(folder).policy.write_text(POLICY.format(folder))
    running = Program(folder, periods, *flags)
    try:
        yield running
    finally:
        running.serving.cancel()
        await asyncio.wait({running.serving})


async def test_without_a_policy_it_serves_until_its_owner_ends_it(tmp_path, periods):
    async with program(tmp_path, periods, policy=False) as running:
        await running.reaches(OwnerState.SERVING)
        running.shutdown.ask()
        await running.reaches(OwnerState.DRAINING)
        assert not periods.begun[0].leaving.is_set()
        periods.drained.set()
        await running.ended()
    assert [state for state, _ in running.states] == ["joining", "serving", "draining", "off"]
    assert running.status.state is OwnerState.OFF
    assert running.status.words == "its owner asked for it"


async def test_asked_twice_it_leaves_at_once(tmp_path, periods):
    async with program(tmp_path, periods, policy=False) as running:
        await running.reaches(OwnerState.SERVING)
        running.shutdown.ask()
        await running.reaches(OwnerState.DRAINING)
        running.shutdown.ask()
        await running.ended()


async def test_asked_before_it_is_ready_it_ends_and_says_so(tmp_path, periods):
    periods.ready_at_once = False
    async with program(tmp_path, periods, policy=False) as running:
        await running.reaches(OwnerState.JOINING)
        running.shutdown.ask()
        await running.ended()
    assert periods.cancelled == 1
    assert running.lines[-1] == "stopped before it was ready"


async def test_when_the_car_leaves_it_drains_pauses_and_comes_back_by_itself(tmp_path, periods):
    periods.drained.set()
    async with program(tmp_path, periods) as running:
        await running.reaches(OwnerState.SERVING)
        running.tell("parked", "false")
        paused = await running.reaches(OwnerState.PAUSED)
        assert paused.words == "brake is false"
        assert periods.begun[0].stopping.is_set()
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
    assert periods.begun[1].remembered.peers  # the peers that it knew when it left


async def test_what_is_dangerous_stops_at_once(tmp_path, periods):
    async with program(tmp_path, periods) as running:
        await running.reaches(OwnerState.SERVING)
        running.tell("celsius", "95")
        await running.reaches(OwnerState.PAUSED)
        assert periods.begun[0].leaving.is_set()
        assert "draining" not in [state for state, _ in running.states]
    assert running.lines[0].startswith("stopping: ")


async def test_a_stop_cuts_a_drain_short(tmp_path, periods):
    async with program(tmp_path, periods) as running:
        await running.reaches(OwnerState.SERVING)
        running.tell("parked", "false")
        await running.reaches(OwnerState.DRAINING)
        running.tell("celsius", "95")
        await running.reaches(OwnerState.PAUSED)
        assert periods.begun[0].leaving.is_set()


async def test_a_policy_that_says_no_while_it_joins_ends_that(tmp_path, periods):
    periods.ready_at_once = False
    async with program(tmp_path, periods) as running:
        await running.reaches(OwnerState.JOINING)
        running.tell("parked", "false")
        await running.reaches(OwnerState.PAUSED)
        assert periods.cancelled == 1


async def test_it_does_not_join_before_the_policy_allows_it(tmp_path, periods):
    (tmp_path / "parked").write_text("false")
    write_consent(OwnerFiles(tmp_path).consent)
    OwnerFiles(tmp_path).policy.write_text(POLICY.format(tmp_path))
    (tmp_path / "celsius").write_text("50")
    running = Program(tmp_path, periods)
    await running.reaches(OwnerState.PAUSED)
    assert periods.begun == []
    running.shutdown.ask()  # and while it is paused it ends without delay
    await running.ended()
    assert periods.begun == []


async def test_consent_taken_back_ends_the_program(tmp_path, periods):
    async with program(tmp_path, periods) as running:
        await running.reaches(OwnerState.SERVING)
        revoke_consent(running.files.consent)
        await running.ended()
    assert periods.begun[0].leaving.is_set()
    assert running.status.state is OwnerState.OFF
    assert running.status.words == "the owner has taken the consent back"
    assert running.lines == ["ending: the owner has taken the consent back"]  # once, and nothing else


async def test_a_server_that_cannot_join_at_the_start_says_why_and_ends(tmp_path, periods):
    periods.fails_with = [SwarmUnreachableError("nobody answers at x")]
    async with program(tmp_path, periods) as running:
        with pytest.raises(SwarmUnreachableError):
            await running.ended()
    assert running.status.words == "nobody answers at x"


async def test_what_is_wrong_is_said_at_the_start_also_where_the_policy_pauses(tmp_path, periods):
    periods.start_fails_with = ModelError("there is no file or folder m")
    async with program(tmp_path, periods) as running:
        running.tell("parked", "false")
        with pytest.raises(ModelError, match="no file or folder"):
            await running.ended()
    assert running.lines == []


async def test_a_model_that_cannot_be_checked_yet_ends_no_pause(tmp_path, periods):
    """At home without a network: the model may be there when the policy allows work."""
    periods.start_fails_with = HubUnreachableError("the hub can't be reached")
    async with program(tmp_path, periods) as running:
        running.tell("parked", "false")
        await running.reaches(OwnerState.PAUSED)
        assert running.lines[0] == "not checked yet: the hub can't be reached"


async def test_a_model_that_cannot_be_reached_ends_a_server_that_may_work(tmp_path, periods):
    """Before it joins a swarm, and before it prints how others join."""
    periods.start_fails_with = HubUnreachableError("the hub can't be reached")
    async with program(tmp_path, periods) as running:
        with pytest.raises(HubUnreachableError):
            await running.ended()
    assert periods.begun == [] and running.lines == []


async def test_a_server_that_cannot_come_back_yet_tries_again(tmp_path, periods):
    """The Wi-Fi is back later than the signal says; a disk is full. Peers are remembered, ports are not."""
    periods.drained.set()
    periods.fails_with = [
        None,
        SwarmUnreachableError("nobody answers"),
        StoreError("the disk is too full"),
    ]
    async with program(tmp_path, periods) as running:
        await running.reaches(OwnerState.SERVING)
        running.tell("parked", "false")
        await running.reaches(OwnerState.PAUSED)
        running.tell("parked", "true")
        await running.reaches(OwnerState.SERVING)
    assert len(periods.begun) == 4
    remembered = [period.remembered for period in periods.begun]
    assert remembered[1] == Remembered({PeerId("peer of period 1"): ()}, ("/port",))
    assert remembered[3] == Remembered({PeerId("peer of period 1"): ()}, ())
    assert any("trying again" in line for line in running.lines)


@pytest.mark.parametrize(
    ("signal", "value", "leaves_at_once"), [("parked", "false", False), ("celsius", "95", True)]
)
async def test_a_policy_is_obeyed_before_the_owner_is_told(tmp_path, periods, signal, value, leaves_at_once):
    """With a closed output, the drain still happens, and then the program ends with an error."""
    async with program(tmp_path, periods) as running:
        await running.reaches(OwnerState.SERVING)
        running.output_is_closed = True
        running.tell(signal, value)
        with pytest.raises(BrokenPipeError):
            await running.ended()
    (period,) = periods.begun
    assert period.stopping.is_set()
    assert period.leaving.is_set() is leaves_at_once
    assert running.status.state is OwnerState.OFF


async def test_consent_taken_back_is_obeyed_before_the_owner_is_told(tmp_path, periods):
    async with program(tmp_path, periods) as running:
        await running.reaches(OwnerState.SERVING)
        running.output_is_closed = True
        revoke_consent(running.files.consent)
        with pytest.raises(BrokenPipeError):
            await running.ended()
    assert periods.begun[0].leaving.is_set()


async def test_a_closed_output_does_not_keep_a_server_from_stopping_while_it_joins(tmp_path, periods):
    periods.ready_at_once = False
    async with program(tmp_path, periods) as running:
        await running.reaches(OwnerState.JOINING)
        running.output_is_closed = True
        running.tell("parked", "false")
        with pytest.raises(BrokenPipeError):
            await running.ended()
    assert periods.cancelled == 1


async def test_when_nothing_can_pass_on_the_owners_will_serving_ends_loudly(tmp_path, periods, monkeypatch):
    """A server that no longer obeys must not go on."""

    def enter(self: object, state: OwnerState, words: str) -> None:
        if state is OwnerState.SERVING:
            raise KeyError("a fault")

    monkeypatch.setattr(lifecycle.Housekeeping, "enter", enter)
    async with program(tmp_path, periods) as running:
        with pytest.raises(KeyError, match="a fault"):
            await running.ended()
    assert periods.cancelled == 1


async def test_a_fault_of_ours_ends_the_program_with_its_reason(tmp_path, periods):
    periods.fails_with = [EngineError("the computing thread failed")]
    async with program(tmp_path, periods) as running:
        with pytest.raises(EngineError):
            await running.ended()
    assert running.status.words == "the computing thread failed"


async def test_how_long_a_drain_may_take_is_the_policys_unless_a_flag_says_otherwise(tmp_path, periods):
    async with program(tmp_path, periods, policy=False) as running:
        running.files.policy.write_text("version = 1\n[timing]\ndrain_seconds = 17\n")
        await running.reaches(OwnerState.SERVING)
        await until(lambda: periods.begun[0].drain_seconds() == 17)


async def test_a_flag_says_how_long_a_drain_may_take(tmp_path, periods):
    async with program(tmp_path, periods, "--drain-seconds", "3", policy=False) as running:
        await running.reaches(OwnerState.SERVING)
        assert periods.begun[0].drain_seconds() == 3


async def test_the_status_names_what_is_known_and_what_is_wrong(tmp_path, periods):
    async with program(tmp_path, periods) as running:
        await running.reaches(OwnerState.SERVING)
        (tmp_path / "parked").unlink()
        await running.reaches(OwnerState.PAUSED)
        status = running.status
    assert "celsius" in status.signals["machine_celsius"].origin
    assert any("parked" in origin for origin in status.troubles)
