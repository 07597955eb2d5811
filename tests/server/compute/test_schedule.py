"""Decode steps go first, prefill fills the rest of a batch, and clients share."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.server.compute.schedule import (
    MAX_BATCH_TOKENS,
    MIN_PREFILL_TOKENS,
    Demand,
    FairShares,
    plan_batch,
    prefill_budget,
)

CLIENTS = [b"a", b"b", b"c"]

demands = st.lists(
    st.builds(Demand, st.sampled_from(CLIENTS), st.integers(1, 600), st.booleans()), min_size=1, max_size=40
)


@given(demands, st.integers(1, MAX_BATCH_TOKENS))
def test_a_batch_keeps_its_limits_and_never_runs_empty(waiting, budget):
    taken = plan_batch(waiting, FairShares(), budget)
    prefill = sum(tokens for tokens, demand in zip(taken, waiting, strict=True) if not demand.urgent)
    assert sum(taken) > 0
    assert prefill <= budget
    assert sum(taken) <= MAX_BATCH_TOKENS
    assert all(0 <= tokens <= demand.tokens for tokens, demand in zip(taken, waiting, strict=True))


@given(demands, st.integers(32, 64))
def test_every_step_is_run_in_the_end_even_while_others_go_on_decoding(waiting, budget):
    shares = FairShares()
    left = [demand.tokens for demand in waiting]
    for _ in range(2 + 2 * sum(left) // budget + len(left)):
        backlog = [index for index, tokens in enumerate(left) if tokens]
        endless = [Demand(b"endless", 1, True)] * 8
        now = [Demand(waiting[i].client, left[i], waiting[i].urgent) for i in backlog] + endless
        for index, tokens in zip(backlog, plan_batch(now, shares, budget), strict=False):
            left[index] -= tokens
    assert not any(left)


def test_all_decoding_steps_run_beside_a_slice_of_prefill():
    waiting = [Demand(b"a", 500, False), *[Demand(b"b", 1, True)] * 5]
    assert plan_batch(waiting, FairShares(), 32) == [32, 1, 1, 1, 1, 1]


def test_a_client_with_ten_documents_gets_no_more_than_one_with_a_single_document():
    shares = FairShares()
    had = {b"many": 0, b"one": 0}
    for _ in range(50):
        waiting = [Demand(b"many", 400, False)] * 10 + [Demand(b"one", 400, False)]
        for tokens, demand in zip(plan_batch(waiting, shares, 100), waiting, strict=True):
            had[demand.client] += tokens
    assert abs(had[b"many"] - had[b"one"]) <= 200


def test_a_client_that_pauses_earns_no_credit():
    shares = FairShares()
    for _ in range(20):
        plan_batch([Demand(b"busy", 100, False)], shares, 100)
    had = {b"busy": 0, b"late": 0}
    for _ in range(10):
        waiting = [Demand(b"busy", 100, False), Demand(b"late", 100, False)]
        for tokens, demand in zip(plan_batch(waiting, shares, 100), waiting, strict=True):
            had[demand.client] += tokens
    assert abs(had[b"busy"] - had[b"late"]) <= 100


def test_what_is_remembered_of_clients_is_bounded():
    shares = FairShares()
    for index in range(5000):
        plan_batch([Demand(index.to_bytes(4, "big"), 3, False)], shares, 100)
    assert len(shares._served) <= 1024


def test_prefill_runs_at_full_width_when_nobody_decodes_and_yields_when_somebody_does():
    assert prefill_budget(tokens_per_second=1000, decoding=False) == MAX_BATCH_TOKENS
    assert prefill_budget(tokens_per_second=2000, decoding=True) == 60
    assert prefill_budget(tokens_per_second=1, decoding=True) == MIN_PREFILL_TOKENS


def test_who_may_compute_for_a_part_of_the_time_only_does_so_in_shorter_batches():
    """A batch is followed by a pause, and others wait for both."""
    assert prefill_budget(tokens_per_second=1000, decoding=False, duty=0.25) == MAX_BATCH_TOKENS // 4
    assert prefill_budget(tokens_per_second=4000, decoding=True, duty=0.5) == 60
    assert prefill_budget(tokens_per_second=4000, decoding=True, duty=0.01) == MIN_PREFILL_TOKENS
