"""A small fleet lives through some hours: every layer held, nobody leaves a gap, never two for the same."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, replace

import pytest

from p2pinfer.server.placement.choice import Sizes
from p2pinfer.types import PeerId
from scripts.fleet.day import Fleet
from scripts.fleet.machines import Machine, Model, fleet_of
from scripts.fleet.petals import Petals
from scripts.fleet.rules import JoinOnly, Ours, Rule
from scripts.fleet.stays import DAY, HOUR, Stay

SMALL = Model(hash="cd" * 32, num_layers=12, layer_bytes=50e6)
MODEL = Model(hash="ab" * 32, num_layers=30, layer_bytes=50e6)
NOON = 12 * HOUR
GAIN = 1.2


def machine(
    name: object, ends_at: float = 2 * DAY, *, is_abrupt: bool = True, rate: float = 1000.0
) -> Machine:
    return Machine(
        peer_id=PeerId(f"peer {name}"),
        model=MODEL,
        sizes=Sizes.exactly(10),
        layer_rate=rate,
        bytes_per_second=25e6,
        stays=[Stay(0.0, ends_at, None, is_abrupt)],
    )


def lived(machines: Sequence[Machine], rule: Rule, seconds: float, seed: int = 1) -> Fleet:
    fleet = Fleet(machines, rule, NOON, seed)
    fleet.run(NOON + seconds)
    return fleet


def evening(seed: int, rule: Rule) -> Fleet:
    """Thirty cars and computers, unequal, from 18:00 to 21:00."""
    machines = fleet_of(30, [SMALL], zones=1, mbit=200, ends_at=DAY, seed=seed)
    fleet = Fleet(machines, rule, 18 * HOUR, seed)
    fleet.run(21 * HOUR)
    return fleet


def tallies(fleet: Fleet) -> list[dict[str, float]]:
    return [asdict(hour) for cell in fleet.cells.values() for hour in cell.service.hours]


def numbers(fleet: Fleet) -> list[int]:
    return fleet.cells[MODEL.hash].service.numbers.tolist()


def moves(fleet: Fleet) -> int:
    return sum(hour.moves for hour in fleet.cells[MODEL.hash].service.hours)


def test_a_seed_says_all_that_happens():
    one, again, other = (tallies(evening(seed, Ours(GAIN))) for seed in (1, 1, 2))

    assert one == again
    assert one != other


@pytest.mark.parametrize("rule", [Ours(GAIN), JoinOnly(), Petals(1)], ids=lambda rule: rule.name)
def test_nothing_stays_of_whoever_has_left(rule: Rule):
    """Whatever was cut off in the middle: fetching, moving, draining."""
    chance = random.Random(1)
    machines = []
    for n in range(30):
        begins = [NOON + chance.uniform(0, HOUR / 2) for _ in range(2)]
        stays = [
            Stay(at, at + chance.uniform(130, 900), None, chance.random() < 0.5) for at in sorted(begins)
        ]
        machines.append(replace(machine(n), stays=stays))
    fleet = lived(machines, rule, HOUR / 2)
    assert max(numbers(fleet)) > 0
    fleet.run(NOON + HOUR)

    assert numbers(fleet) == [0] * 30
    assert fleet.cells[MODEL.hash].board.servers == 0
    assert not fleet.cells[MODEL.hash].board.rates.any()


@pytest.mark.parametrize("seed", range(3))
def test_every_layer_is_held_in_the_evening(seed: int):
    hours = evening(seed, Ours(GAIN)).cells[SMALL.hash].service.hours

    for hour in (19, 20):
        assert hours[hour].held_once == pytest.approx(hours[hour].seconds)


@pytest.mark.parametrize("seed", range(3))
def test_servers_that_move_leave_no_gap(seed: int):
    """Of thirty, half go without a word; a layer that is held afterwards is held from then on."""
    chance = random.Random(seed)
    gone_at = NOON + HOUR
    machines = [
        machine(f"{seed} {n}", 2 * DAY if n % 2 else gone_at, rate=chance.choice([500.0, 1000.0, 3000.0]))
        for n in range(30)
    ]
    fleet = lived(machines, Ours(1.01), HOUR + 1)
    held = {layer for layer, number in enumerate(numbers(fleet)) if number}
    for second in range(2, 1200):
        fleet.run(gone_at + second)
        holds = {layer for layer, number in enumerate(numbers(fleet)) if number}
        assert held <= holds
        held = holds
    assert len(held) == 30
    assert moves(fleet) > 0


def test_one_server_fills_the_gap_that_another_leaves():
    """Six hold every layer twice; two that hold the same ten layers go, and one of the four follows them."""
    times = {}
    for attempt in range(2):  # the first says who holds what
        machines = [machine(n, times.get(n, 2 * DAY)) for n in range(6)]
        fleet = lived(machines, Ours(GAIN), HOUR)
        board = fleet.cells[MODEL.hash].board
        assert numbers(fleet) == [2] * 30
        if not attempt:
            times = {n: NOON + HOUR + 1 for n in range(6) if board.starts[n] == 20}
    fleet.run(NOON + HOUR + 2)
    assert numbers(fleet) == [2] * 20 + [0] * 10
    fleet.run(NOON + 2 * HOUR)

    assert sorted(numbers(fleet)) == [1] * 20 + [2] * 10
    assert moves(fleet) == 1


def test_whoever_says_when_it_leaves_is_followed_before():
    """Not a second without a layer."""
    machines = [machine(n) for n in range(6)]
    fleet = lived(machines, Ours(GAIN), HOUR)
    starts = fleet.cells[MODEL.hash].board.starts.tolist()
    leaves_at = NOON + 3 * HOUR
    stay = Stay(0.0, leaves_at, leaves_at, False)
    machines = [machine(n) if starts[n] != 20 else replace(machine(n), stays=[stay]) for n in range(6)]
    fleet = Fleet(machines, Ours(GAIN), NOON, 1)
    fleet.run(NOON + HOUR)
    fleet.measure_from_now()
    fleet.run(NOON + 4 * HOUR)

    for hour in fleet.cells[MODEL.hash].service.hours:
        assert hour.held_once == pytest.approx(hour.seconds)
    assert min(numbers(fleet)) == 1


def test_it_costs_what_a_disk_lacks():
    """Ten layers of 50 MB for each of six."""
    fleet = lived([machine(n) for n in range(6)], Ours(GAIN), HOUR)

    assert sum(hour["fetched_bytes"] for hour in tallies(fleet)) == 6 * 10 * 50e6
