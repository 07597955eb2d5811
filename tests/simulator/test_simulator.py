"""Sessions survive departures: fault by fault, on a virtual clock."""

from __future__ import annotations

import statistics

import pytest

from p2pinfer.errors import NoRouteError
from p2pinfer.types import Span
from tests.simulator.network.network import Wires
from tests.simulator.runs.run import Outcome, run_schedule
from tests.simulator.schedules.faults import Fault, Moment
from tests.simulator.schedules.schedule import Schedule, schedule_of
from tests.simulator.schedules.script import Act, Script
from tests.simulator.server.server import ServerShape

# A killed process is a coroutine that is dropped in the middle. When the garbage collector finds it, what the
# coroutine does last finds no event loop; a process that is killed does nothing last.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

BLOCKS = 20
SCHEDULES_PER_BLOCK = 60

THREE_STAGES = (Span(0, 2), Span(2, 4), Span(4, 6))
LONG = Script(prompt_tokens=40, acts=(Act(decode=60),))


def simulate(
    *faults: Fault,
    replicas: int = 2,
    scripts: tuple[Script, ...] = (LONG,),
    route_seconds: float = 60.0,
    wires: Wires | None = None,
) -> Outcome:
    """Three stages, 60 tokens in about 5 s; the outcome is checked for what must always hold."""
    outcome = run_schedule(
        Schedule(
            seed=0,
            wires=wires or Wires(),
            servers=tuple(ServerShape(layers=span, num_layers=6) for span in THREE_STAGES * replicas),
            scripts=scripts,
            faults=faults,
            route_seconds=route_seconds,
        )
    )
    assert outcome.wrong == []
    return outcome


def at(seconds: float) -> Moment:
    return Moment(seconds=seconds)


def on(event: str, count: int = 1) -> Moment:
    return Moment(event=event, count=count)


def longest_stall(outcome: Outcome) -> float:
    return max(step.seconds for step in outcome.steps if step.ended > outcome.happened[0].at)


def replaced(outcome: Outcome) -> int:
    return sum(diary.replaced_hops for diary in outcome.diaries)


def computed(outcome: Outcome) -> int:
    return sum(what == "computes" for _, _, what in outcome.trace)


def said(outcome: Outcome, words: str) -> bool:
    return any(words in what for _, _, what in outcome.trace)


# One seed, one run.


@pytest.mark.parametrize("seed", range(5))
def test_a_seed_replays_exactly(seed: int):
    """Otherwise nobody could look at a failure twice."""
    first, again = run_schedule(schedule_of(seed)), run_schedule(schedule_of(seed))
    assert first.trace == again.trace
    assert first.seconds == again.seconds


# Death.


def test_a_server_that_is_killed_between_two_steps_is_replaced():
    thinking = Script(prompt_tokens=40, acts=(Act(decode=5), Act(decode=10, pause_seconds=3.0)))
    outcome = simulate(Fault(kind="kill", when=at(2.5), seconds=60), scripts=(thinking,))
    assert replaced(outcome) == 1
    assert longest_stall(outcome) < 1.0


@pytest.mark.parametrize("step", [1, 2, 3, 4, 20, 21, 22, 50])
def test_a_server_that_is_killed_between_receiving_a_step_and_answering_it_is_replaced(step: int):
    """The step was computed, but its result is lost."""
    outcome = simulate(Fault(kind="kill", when=on("computes", step), target="here", seconds=60))
    assert replaced(outcome) == 1
    assert longest_stall(outcome) < 1.5


@pytest.mark.parametrize("piece", range(1, 12))
def test_a_server_that_is_killed_within_a_long_prompt_is_replaced(piece: int):
    prompt = Script(prompt_tokens=500, rows=2, acts=(Act(decode=3),))
    fault = Fault(kind="kill", when=on("computes", piece), target="here", seconds=60)
    assert replaced(simulate(fault, scripts=(prompt,))) == 1


def test_a_hop_that_is_killed_while_it_replays_its_history_is_replaced_as_well():
    outcome = simulate(
        Fault(kind="kill", when=on("computes", 60), target="C", seconds=60),
        Fault(kind="kill", when=on("computes", 60), target="F", seconds=60),
        Fault(kind="kill", when=on("computes", 61), target="busy", seconds=60),
        Fault(kind="kill", when=on("SetDownstream"), target="here", seconds=60),
        replicas=3,
    )
    assert replaced(outcome) >= 2


def test_two_servers_killed_in_the_same_moment_are_replaced():
    both = [Fault(kind="kill", when=on("computes", 40), seconds=60) for _ in range(2)]
    assert replaced(simulate(*both)) == 2


def test_all_servers_of_a_route_killed_in_the_same_moment_are_replaced():
    """No server has a history: the replay begins with the client's tokens."""
    everybody = [Fault(kind="kill", when=on("computes", 40), seconds=60) for _ in range(3)]
    outcome = simulate(*everybody)
    assert replaced(outcome) == 3
    assert sum(diary.replayed_tokens for diary in outcome.diaries) >= 50


@pytest.mark.parametrize("event", ["Session", "accepts lane", "computes"])
def test_a_replacement_that_is_killed_is_replaced(event: str):
    """The kill comes while the replacement is opened, when its first lane comes, and within the replay."""
    before = {"Session": 3, "accepts lane": 4, "computes": 40}[event]
    outcome = simulate(
        Fault(kind="kill", when=on("computes", 40), seconds=60),
        Fault(kind="kill", when=on(event, before + 1), target="here", seconds=60),
        replicas=3,
    )
    assert len(outcome.happened) == 2


# Silence.


def test_a_stopped_server_is_replaced_and_what_it_says_late_does_no_harm():
    """SIGSTOP: its kernel still accepts data, and after SIGCONT the process handles all of it."""
    outcome = simulate(
        Fault(kind="stop", when=on("computes", 40), target="here", seconds=3),
        scripts=(Script(prompt_tokens=40, acts=(Act(decode=90),)),),
    )
    assert replaced(outcome) == 1
    assert longest_stall(outcome) < 3.0
    assert outcome.seconds > outcome.happened[0].at + 4.0


@pytest.mark.parametrize("other", ["client", "A", "B", "C"])
def test_a_link_that_is_cut_is_routed_around(other: str):
    stages = simulate(Fault(kind="twice", when=on("computes", 40), target="here"))
    used = stages.happened[0].host
    outcome = simulate(Fault(kind="cut", when=on("computes", 40), target=used[0], other=other, seconds=60))
    assert longest_stall(outcome) < 6.0


@pytest.mark.parametrize("target", ["A", "B", "C", "D", "E", "F"])
@pytest.mark.parametrize("inwards", [True, False])
def test_a_one_way_partition_from_the_client_is_routed_around(target: str, inwards: bool):
    """Either the client's packets don't reach the server, or the server's don't reach the client."""
    ends = ("client", target) if inwards else (target, "client")
    outcome = simulate(Fault(kind="one-way", when=at(2.5), target=ends[0], other=ends[1], seconds=60))
    assert longest_stall(outcome) < 5.0


def test_lanes_that_break_are_made_again():
    outcome = simulate(*(Fault(kind="reset", when=at(seconds)) for seconds in (2.0, 3.0, 4.0)))
    assert longest_stall(outcome) < 3.0


def test_steps_and_results_that_come_twice_are_computed_once():
    """Each hop computes a step once, as often as without repeated frames."""
    outcome = simulate(Fault(kind="twice", when=at(0.1), target="A"), Fault(kind="twice", when=at(1.5)))
    undisturbed = simulate()
    assert replaced(outcome) == 0
    assert computed(outcome) == computed(undisturbed)


# Leaving.


@pytest.mark.parametrize("step", [30, 31, 32])
def test_a_server_that_drains_is_left_without_a_gap(step: int):
    """The longest gap is at most that of two steps and the round trips of the switch."""
    wires = Wires(delay_seconds=0.02, jitter_seconds=0.0)
    outcome = simulate(Fault(kind="drain", when=on("computes", step), target="here", seconds=20), wires=wires)
    steps = [step.seconds for step in outcome.steps[1:]]
    assert said(outcome, "handed over to")
    assert max(steps) <= 2 * statistics.median(steps) + 3 * 2 * 0.03


def test_a_server_that_drains_while_nobody_steps_is_left_meanwhile():
    thinking = Script(prompt_tokens=40, acts=(Act(decode=5), Act(decode=10, pause_seconds=8.0)))
    outcome = simulate(Fault(kind="drain", when=at(2.0), seconds=5), scripts=(thinking,))
    assert said(outcome, "handed over to")
    assert longest_stall(outcome) < 0.2


@pytest.mark.parametrize("count", range(6, 46, 3))
def test_a_text_that_is_rewound_while_a_successor_is_fed_comes_out_right(count: int):
    """The successor gets the replaced part of the text again."""
    rewinding = tuple(Act(keep=20 + 9 * index, add=40, decode=2) for index in range(8))
    script = Script(prompt_tokens=300, acts=(Act(decode=2), *rewinding), rows=2)
    fault = Fault(kind="drain", when=on("computes", count), seconds=30)
    outcome = simulate(fault, scripts=(script,), wires=Wires(bytes_per_second=20_000, capacity_bytes=600))
    assert said(outcome, "handed over to")


def test_a_successor_that_is_killed_while_it_is_fed_costs_nothing_but_time():
    outcome = simulate(
        Fault(kind="drain", when=on("computes", 30), seconds=20),
        Fault(kind="kill", when=on("Session", 4), target="here", seconds=60),
        replicas=3,
    )
    assert said(outcome, "handed over to")


def test_a_server_that_is_killed_while_it_drains_is_replaced():
    outcome = simulate(
        Fault(kind="drain", when=on("computes", 30), target="here", seconds=20),
        Fault(kind="kill", when=on("Session", 4), target="A", seconds=60),
        Fault(kind="kill", when=on("Session", 4), target="D", seconds=60),
        replicas=3,
    )
    assert longest_stall(outcome) < 2.0


# No holder left.


def test_a_session_waits_for_the_only_holder_and_goes_on_when_it_returns():
    outcome = simulate(Fault(kind="kill", when=at(2.0), target="B", seconds=20), replicas=1)
    assert said(outcome, "no server for layers 2-3; waiting for servers to join")
    assert 20 < longest_stall(outcome) < 26


def test_when_the_limit_passes_the_caller_gets_a_typed_error_with_the_text_so_far():
    outcome = simulate(
        Fault(kind="kill", when=at(2.0), target="B", seconds=100), replicas=1, route_seconds=4.0
    )
    (diary,) = outcome.diaries
    assert isinstance(diary.error, NoRouteError)
    assert diary.error.missing == (Span(2, 4),)
    assert diary.error.rows is not None and len(diary.error.rows[0]) > 40
    assert diary.ended_at - outcome.happened[0].at == pytest.approx(4.0, abs=2.0)


# Slow is not dead.


def test_a_server_that_becomes_slow_is_left_by_a_warm_switch():
    """No step fails, and the last ones are as fast as the first."""
    talkative = Script(prompt_tokens=40, acts=(Act(decode=120),))
    outcome = simulate(
        Fault(kind="slow", when=on("computes", 60), target="here", seconds=500, strength=20.0),
        scripts=(talkative,),
    )
    steps = [step.seconds for step in outcome.steps]
    assert said(outcome, "handed over to")
    assert not said(outcome, "rerouting")
    assert statistics.median(steps[-10:]) < 1.3 * statistics.median(steps[1:15])


# Everything together.


def test_several_sessions_and_batches_survive_a_bad_hour():
    scripts = tuple(
        Script(
            starts_at=index / 2,
            rows=1 + index % 3,
            prompt_tokens=10 + 90 * index,
            acts=(Act(decode=20), Act(add=30, decode=10, pause_seconds=1.0), Act(keep=9, add=9, decode=10)),
            seed=index,
        )
        for index in range(4)
    )
    kinds = ("kill", "stop", "cut", "drain", "one-way", "reset", "vanish")
    faults = [Fault(kind=kind, when=at(1.0 + 1.5 * n), seconds=4) for n, kind in enumerate(kinds)]
    outcome = simulate(*faults, replicas=3, scripts=scripts)
    assert all(diary.error is None for diary in outcome.diaries)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_random_schedules_end_well(block: int):
    first = block * SCHEDULES_PER_BLOCK
    for seed in range(first, first + SCHEDULES_PER_BLOCK):
        outcome = run_schedule(schedule_of(seed))
        assert not outcome.wrong, f"seed {seed}: replay with scripts/simulate --seed {seed} --trace"
