"""All readers get the same time; what a process was at when it ended is not lost."""

from __future__ import annotations

import itertools

from scripts.benchmarks.fuzz.plan import Block, Plan
from scripts.benchmarks.fuzz.table import goals, rows
from tests.fuzz.trying import Culprit, Tally


def test_a_quick_reader_tries_more_inputs_in_the_same_time():
    plan = Plan(["quick", "slow"])
    each = {"quick": 0.001, "slow": 0.1}
    for _ in range(40):
        block = plan.next_block()
        assert block is not None
        plan.done(block, Tally(inputs=block.count, seconds=block.count * each[block.reader]))

    quick, slow = plan.tallies["quick"], plan.tallies["slow"]
    assert 0.7 < quick.seconds / slow.seconds < 1.4
    assert quick.inputs > 50 * slow.inputs


def test_no_input_is_given_twice_and_no_more_than_were_asked_for():
    plan = Plan(["a", "b"], most_inputs=1000)
    blocks = list(iter(plan.next_block, None))
    numbers = [
        (block.reader, number) for block in blocks for number in range(block.first, block.first + block.count)
    ]

    assert len(numbers) == len(set(numbers)) == 1000


def test_a_crash_is_noted_and_the_rest_of_its_block_goes_on():
    plan = Plan(["a"])
    rest = plan.crashed(Block("a", 100, 50), Culprit(110, b"x"))

    assert rest == Block("a", 111, 39)
    assert plan.crashed(rest, Culprit(149, b"y")) is None
    assert plan.inputs == 50
    assert [culprit.data for culprit in plan.crashes["a"]] == [b"x", b"y"]


def test_crashes_and_unexpected_errors_miss_their_goals():
    plan = Plan(["a", "b"], most_inputs=10)
    plan.done(Block("a", 0, 10), Tally(inputs=10, seconds=1.0, defects={"KeyError": Culprit(3, b"x")}))
    plan.crashed(Block("b", 0, 10), Culprit(9, b"y"))

    assert [goal.is_met for goal in goals(plan)] == [False, False, False]
    assert len(list(itertools.islice(rows(plan), 9))) == 3
