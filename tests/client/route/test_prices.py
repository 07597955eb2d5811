"""A token's price: alone it waits for everything; among many, the work on it is what counts."""

from __future__ import annotations

import dataclasses

import pytest

from p2pinfer.client.reach.carrier import Carrier
from p2pinfer.client.route.aim import Aim
from p2pinfer.client.route.experience import Experience, life_of
from p2pinfer.client.route.prices import Work, layer_seconds, replay_seconds, waiting_seconds
from p2pinfer.identity import Identity
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.types import LayerSeconds
from tests.swarm.conftest import describe

NO_CARRIER: Carrier = None  # type: ignore[assignment]  # these tests ping no server
RECORD = dataclasses.replace(
    describe(Identity.ephemeral()),  # ten layers
    decode=LayerSeconds(0.004, 0.002),
    prefill=LayerSeconds(0.001, 0.002),
)


def price(work: Work, record: Announcement = RECORD, experience: Experience | None = None) -> float:
    """Of one layer."""
    experience = experience or Experience(NO_CARRIER)
    known = experience.seconds_per_layer(record, work.step_context_tokens, rows=work.rows_under_way)
    return layer_seconds(known, work)


async def test_one_row_pays_what_a_decode_step_takes_with_its_context():
    assert price(Work(tokens_to_come=0)) == pytest.approx(0.004)
    assert price(Work(history_tokens=1024, tokens_to_come=0)) == pytest.approx(0.006)
    assert price(Work(tokens_to_come=2048)) == pytest.approx(0.006)
    assert Work().way_weight == 1


async def test_rows_of_a_batch_share_the_reading_of_the_weights_and_the_ways():
    work = Work(rows=4, tokens_to_come=0)
    assert price(work) == pytest.approx((0.004 + 3 * 0.001) / 4)
    assert work.way_weight == 1 / 4


async def test_each_row_of_a_batch_pays_for_its_own_context():
    texts = Work(rows=4, history_tokens=4 * 1024, tokens_to_come=0)
    assert price(texts) == pytest.approx((0.004 + 3 * 0.001) / 4 + 0.002)


async def test_for_throughput_the_work_of_a_row_among_many_counts_whatever_the_session_has():
    one, few = (Work(rows=rows, tokens_to_come=0, aim=Aim.THROUGHPUT) for rows in (1, 4))
    assert price(one) == price(few) == pytest.approx(0.001, rel=0.1)
    assert one.way_weight < 1 / 16


async def test_a_server_that_is_slow_alone_may_be_the_quicker_one_for_many():
    """Reading the weights takes one of them long, computing the other."""
    other = dataclasses.replace(RECORD, decode=LayerSeconds(0.002), prefill=LayerSeconds(0.002))
    assert price(Work(), other) < price(Work())
    assert price(Work(aim=Aim.THROUGHPUT), other) > price(Work(aim=Aim.THROUGHPUT))


async def test_steps_of_a_large_batch_do_not_make_a_server_look_slow_to_one_row():
    experience = Experience(NO_CARRIER)
    experience.measured(life_of(RECORD), 0.024, 0, rows=17)  # 0.020 by its record
    assert price(Work(tokens_to_come=0), experience=experience) == pytest.approx(0.008)


async def test_a_prefill_that_is_announced_as_slower_than_decoding_is_not_believed():
    odd = dataclasses.replace(RECORD, prefill=LayerSeconds(3600.0))
    assert price(Work(rows=8, tokens_to_come=0), odd) == pytest.approx(0.004)


async def test_where_no_prefill_was_measured_each_row_costs_what_one_alone_does():
    assert price(
        Work(rows=8, tokens_to_come=0), dataclasses.replace(RECORD, prefill=LayerSeconds())
    ) == pytest.approx(0.004)


def test_the_replay_of_a_history_is_spread_over_the_tokens_of_all_rows():
    alone, batch = Work(history_tokens=1000), Work(history_tokens=1000, rows=4)
    assert replay_seconds(RECORD, alone) == pytest.approx(4 * replay_seconds(RECORD, batch))


def test_a_queue_costs_as_much_work_as_it_has_steps_but_never_more_than_a_doubted_server():
    assert waiting_seconds(RECORD, 3, 0.001) == pytest.approx(0.03)
    assert waiting_seconds(RECORD, 1_000_000, 3600.0) == 5.0
