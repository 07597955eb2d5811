"""Servers that boast, stall and lie among honest ones: no text changes, and none keeps its clients."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from p2pinfer.types import Span
from tests.simulator.network.network import Wires
from tests.simulator.runs.run import Outcome, run_schedule
from tests.simulator.schedules.schedule import Schedule
from tests.simulator.schedules.script import Act, Script
from tests.simulator.server.malice import Malice
from tests.simulator.server.server import ServerShape

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

THREE_STAGES = (Span(0, 2), Span(2, 4), Span(4, 6))
KINDS: tuple[Malice, ...] = (
    "five seconds", "half a second", "hidden half", "stalls", "never opens", "tiny steps", "says done",
    "to and fro", "from the future", "drains for ever", "babbles", "bad opening", "forgets",
)  # fmt: skip
PLACES = {"first": Span(0, 2), "middle": Span(2, 4), "last": Span(4, 6), "all layers": Span(0, 6)}
MOST_STALL_SECONDS = 3.0


def simulate(
    malicious: Sequence[tuple[Malice, Span]], *, honest: int = 1, scripts: Sequence[Script], seed: int = 0
) -> Outcome:
    """Three stages, each with so many honest servers, and the malicious ones."""
    shapes = [ServerShape(layers=span, num_layers=6) for span in THREE_STAGES * honest]
    shapes += [ServerShape(layers=span, num_layers=6, malice=malice) for malice, span in malicious]
    outcome = run_schedule(
        Schedule(seed=seed, wires=Wires(), servers=tuple(shapes), scripts=tuple(scripts), route_seconds=60.0)
    )
    assert outcome.wrong == []
    assert [diary.error for diary in outcome.diaries] == [None] * len(scripts)
    return outcome


def texts(count: int, *, tokens: int = 30, every_seconds: float = 12.0) -> list[Script]:
    """Texts of one client, one after the other."""
    return [
        Script(starts_at=every_seconds * number, prompt_tokens=40, acts=(Act(decode=tokens),), seed=number)
        for number in range(count)
    ]


def waits(outcome: Outcome, text: int) -> list[float]:
    return [step.seconds for step in outcome.diaries[text].steps]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_nobody_is_kept_by_a_server_that_boasts_stalls_or_lies(kind: Malice, place: str):
    """It looks best of all. What it costs is a pause of its first client's first text."""
    outcome = simulate([(kind, PLACES[place])], scripts=texts(2))

    assert max(waits(outcome, 0)) <= MOST_STALL_SECONDS
    assert sum(seconds > 0.4 for seconds in waits(outcome, 0)) <= 5
    assert max(waits(outcome, 1)) < 0.5, "it is remembered"
    assert outcome.doubted <= {f"D{PLACES[place]}"}, "its neighbours are innocent"


@pytest.mark.parametrize("kind", ["stalls", "says done", "five seconds", "never opens"])
def test_two_in_a_row_cost_two_pauses_and_no_error(kind: Malice):
    outcome = simulate([(kind, Span(0, 6)), (kind, Span(2, 4)), (kind, Span(4, 6))], scripts=texts(1))

    assert max(waits(outcome, 0)) <= 3 * MOST_STALL_SECONDS


@pytest.mark.parametrize("seed", range(6))
def test_a_swarm_with_three_hostile_servers_of_twelve_serves_its_texts(seed: int):
    kinds = KINDS[2 * seed : 2 * seed + 2] * 2
    hostile = [(kind, span) for kind, span in zip(kinds, THREE_STAGES, strict=False)]
    outcome = simulate(hostile, honest=3, scripts=texts(4), seed=seed)

    assert all(max(waits(outcome, text)) < 0.5 for text in (2, 3))


# Slow is not hostile.


def shaped(spans: Sequence[Span], **shape: float) -> list[ServerShape]:
    return [ServerShape(layers=span, num_layers=6, **shape) for span in spans]  # type: ignore[arg-type]


def run(servers: Sequence[ServerShape], scripts: Sequence[Script]) -> Outcome:
    outcome = run_schedule(Schedule(seed=0, servers=tuple(servers), scripts=tuple(scripts)))
    assert outcome.wrong == []
    assert [diary.error for diary in outcome.diaries] == [None] * len(scripts)
    return outcome


@pytest.mark.parametrize("seconds_per_layer", [0.05, 0.2, 0.6])
def test_a_phone_that_says_how_slow_it_is_isnt_doubted(seconds_per_layer: float):
    """It is the only one that has its layers, or a prompt beside others needs it."""
    phone = shaped([Span(2, 4)], seconds_per_layer=seconds_per_layer)
    outcome = run([*shaped(THREE_STAGES[::2]), *phone], texts(2, tokens=10, every_seconds=20.0))

    assert outcome.doubted == set()
    assert [diary.replaced_hops for diary in outcome.diaries] == [0, 0]


def test_a_phone_beside_a_fast_server_isnt_doubted_either():
    phone = shaped([Span(2, 4)], seconds_per_layer=0.2)
    outcome = run([*shaped(THREE_STAGES), *phone], texts(3))

    assert outcome.doubted == set()


def test_servers_under_load_arent_doubted():
    """Eight sessions with long prompts share one server for each stage, and then two."""
    busy = [
        Script(starts_at=0.3 * number, prompt_tokens=400, acts=(Act(decode=10),), seed=number)
        for number in range(8)
    ]
    for spans in (THREE_STAGES, THREE_STAGES * 2):
        outcome = run(shaped(spans, seconds_per_layer_token=0.0001), busy)
        assert outcome.doubted == set()
