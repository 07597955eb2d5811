"""Forked rows survive departures: fault by fault, on a virtual clock."""

from __future__ import annotations

import pytest

from tests.simulator.network.network import Wires
from tests.simulator.runs.run import run_schedule
from tests.simulator.schedules.faults import Fault
from tests.simulator.schedules.schedule import schedule_of, with_forks
from tests.simulator.schedules.script import Act, Script
from tests.simulator.test_simulator import at, on, replaced, said, simulate

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

BLOCKS = 10
SCHEDULES_PER_BLOCK = 40


def forking(*, waits: bool, rows: int = 4, prompt_tokens: int = 60) -> Script:
    forks = tuple(Act(add=add, decode=4, fork=True, waits=waits) for add in (1, 5, 0, 20))
    return Script(rows=rows, prompt_tokens=prompt_tokens, acts=(Act(decode=2), *forks))


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("count", range(9, 60, 5))
def test_a_server_that_is_killed_around_a_fork_is_replaced(count: int, waits: bool):
    fault = Fault(kind="kill", when=on("computes", count), target="here", seconds=60)
    assert replaced(simulate(fault, scripts=(forking(waits=waits),))) == 1


@pytest.mark.parametrize("waits", [True, False])
def test_lanes_that_break_around_forks_are_made_again(waits: bool):
    """A hop has forked, the next one perhaps not, and both stay."""
    for tenth in range(15, 45, 2):
        simulate(Fault(kind="reset", when=at(tenth / 10)), scripts=(forking(waits=waits),))


@pytest.mark.parametrize("count", range(9, 45, 5))
def test_rows_that_are_forked_while_a_successor_is_fed_come_out_right(count: int):
    fault = Fault(kind="drain", when=on("computes", count), seconds=30)
    script = forking(waits=False, rows=2, prompt_tokens=300)
    outcome = simulate(fault, scripts=(script,), wires=Wires(bytes_per_second=20_000, capacity_bytes=600))
    assert said(outcome, "handed over to")


@pytest.mark.parametrize("block", range(BLOCKS))
def test_random_schedules_with_forks_end_well(block: int):
    first = block * SCHEDULES_PER_BLOCK
    for seed in range(first, first + SCHEDULES_PER_BLOCK):
        outcome = run_schedule(with_forks(schedule_of(seed)))
        assert not outcome.wrong, f"seed {seed}: {outcome.wrong}"
