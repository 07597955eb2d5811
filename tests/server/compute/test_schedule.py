"""Decode steps go first, prefill fills the rest of a batch, and clients share."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.server.compute.schedule import (
    MAX_BATCH_TOKENS,
    MIN_PREFILL_TOKENS,
    MOST_PATIENT_TOKENS,
    STALL_SECONDS,
    Demand,
    FairShares,
    PrefillBudget,
    plan_batch,
    prefill_budget,
)

CLIENTS = [b"a", b"b", b"c"]

LAYERS = 10


def waits(
    client: bytes,
    tokens: int,
    *,
    urgent: bool = False,
    layers: int = LAYERS,
    ms: float = 1.0,
    patient: bool = False,
) -> Demand:
    """A step of which a prefill token takes `ms` milliseconds in all of its layers."""
    return Demand(client, tokens, urgent, layers, ms / 1000, patient)


def tokens_only(tokens: int) -> PrefillBudget:
    """A budget without a time."""
    return PrefillBudget(tokens, inf)


demands = st.lists(
    st.builds(
        Demand,
        st.sampled_from(CLIENTS),
        st.integers(1, 600),
        st.booleans(),
        st.integers(1, LAYERS),
        st.floats(1e-9, 10.0),
    ),
    min_size=1,
    max_size=40,
)
few_demands = st.lists(
    st.builds(
        Demand,
        st.sampled_from(CLIENTS),
        st.integers(1, 40),
        st.booleans(),
        st.integers(1, LAYERS),
        st.floats(1e-9, 10.0),
        is_known=st.booleans(),
        source=st.sampled_from(["a", "b"]),
    ),
    min_size=1,
    max_size=8,
)


@given(demands, st.integers(MIN_PREFILL_TOKENS, MAX_BATCH_TOKENS), st.floats(0, 1) | st.just(inf))
def test_a_batch_keeps_its_limits_and_never_runs_empty(waiting, most, seconds):
    taken = plan_batch(waiting, FairShares(), PrefillBudget(most, seconds))
    prefill = [(tokens, demand) for tokens, demand in zip(taken, waiting, strict=True) if not demand.urgent]
    tokens = sum(tokens for tokens, _ in prefill)
    assert sum(taken) > 0
    assert tokens <= most
    assert tokens <= MIN_PREFILL_TOKENS or sum(
        tokens * demand.token_seconds for tokens, demand in prefill
    ) <= seconds * (1 + 1e-9) + MIN_PREFILL_TOKENS * max(demand.token_seconds for _, demand in prefill)
    assert sum(taken) <= MAX_BATCH_TOKENS
    assert all(0 <= tokens <= demand.tokens for tokens, demand in zip(taken, waiting, strict=True))


@given(demands, st.integers(32, 64), st.floats(0, 1) | st.just(inf))
def test_every_step_is_run_in_the_end_even_while_others_go_on_decoding(waiting, most, seconds):
    """Whatever layers it runs through, and whatever layers the others decode in."""
    shares = FairShares()
    left = [demand.tokens for demand in waiting]
    for _ in range(2 + 2 * sum(left) // MIN_PREFILL_TOKENS + len(left)):
        backlog = [index for index, tokens in enumerate(left) if tokens]
        endless = [waits(b"endless", 1, urgent=True)] * 8
        now = [replace(waiting[index], tokens=left[index]) for index in backlog] + endless
        planned = plan_batch(now, shares, PrefillBudget(most, seconds))
        for index, tokens in zip(backlog, planned, strict=False):
            left[index] -= tokens
    assert not any(left)


@given(demands, st.floats(0, 1) | st.just(inf))
def test_no_decoding_step_waits_for_other_layers(waiting, seconds):
    """While there is room for them, all urgent steps are in the batch, from whatever group they come."""
    taken = plan_batch(waiting, FairShares(), PrefillBudget(MAX_BATCH_TOKENS, seconds))
    urgent = [demand.tokens for demand in waiting if demand.urgent]
    if sum(urgent) <= MAX_BATCH_TOKENS:
        assert [tokens for tokens, demand in zip(taken, waiting, strict=True) if demand.urgent] == urgent


def test_all_decoding_steps_run_beside_a_slice_of_prefill():
    waiting = [waits(b"a", 500), *[waits(b"b", 1, urgent=True)] * 5]
    assert plan_batch(waiting, FairShares(), tokens_only(32)) == [32, 1, 1, 1, 1, 1]


def test_of_one_clients_steps_the_patient_ones_go_last():
    """A gateway's questions before its documents, whichever came first."""
    waiting = [waits(b"a", 100, patient=True), waits(b"a", 1, patient=True), waits(b"a", 80)]
    assert plan_batch(waiting, FairShares(), tokens_only(100)) == [20, 0, 80]


def test_documents_of_one_client_share_with_questions_of_another():
    """Else they would wait for ever while many ask."""
    shares = FairShares()
    had = {b"documents": 0, b"questions": 0}
    for _ in range(50):
        waiting = [waits(b"documents", 400, patient=True), waits(b"questions", 400)]
        for tokens, demand in zip(plan_batch(waiting, shares, tokens_only(100)), waiting, strict=True):
            had[demand.client] += tokens
    assert abs(had[b"documents"] - had[b"questions"]) <= 100


def test_a_batch_of_documents_is_short_for_whoever_comes_while_it_runs():
    waiting = [waits(b"a", 100, patient=True), waits(b"b", 100, patient=True)]
    assert sum(plan_batch(waiting, FairShares(), tokens_only(512))) == MOST_PATIENT_TOKENS


def test_documents_that_decode_hold_up_a_reader_no_longer_than_a_prompt_does():
    waiting = [waits(b"a", 1, urgent=True), *[waits(b"b", 16, patient=True, ms=1.0)] * 8]
    assert sum(plan_batch(waiting, FairShares(), PrefillBudget(512, 0.0401))) == 1 + 40


def test_a_client_with_ten_documents_gets_no_more_than_one_with_a_single_document():
    shares = FairShares()
    had = {b"many": 0, b"one": 0}
    for _ in range(50):
        waiting = [waits(b"many", 400)] * 10 + [waits(b"one", 400)]
        for tokens, demand in zip(plan_batch(waiting, shares, tokens_only(100)), waiting, strict=True):
            had[demand.client] += tokens
    assert abs(had[b"many"] - had[b"one"]) <= 200


def test_a_client_that_pauses_earns_no_credit():
    shares = FairShares()
    for _ in range(20):
        plan_batch([waits(b"busy", 100)], shares, tokens_only(100))
    had = {b"busy": 0, b"late": 0}
    for _ in range(10):
        waiting = [waits(b"busy", 100), waits(b"late", 100)]
        for tokens, demand in zip(plan_batch(waiting, shares, tokens_only(100)), waiting, strict=True):
            had[demand.client] += tokens
    assert abs(had[b"busy"] - had[b"late"]) <= 100


def test_what_is_remembered_of_clients_is_bounded():
    shares = FairShares()
    for index in range(5000):
        plan_batch([waits(index.to_bytes(4, "big"), 3)], shares, tokens_only(100))
    assert len(shares._served) <= 4096
    assert len(shares._now) <= 4096


def test_a_client_in_a_few_layers_gets_as_much_work_as_one_in_many():
    """A token through three layers counts a third of one through nine."""
    shares = FairShares()
    had = {b"few": 0, b"many": 0}
    for _ in range(100):
        waiting = [waits(b"many", 400, layers=9), waits(b"few", 400, layers=3)]
        for tokens, demand in zip(plan_batch(waiting, shares, tokens_only(100)), waiting, strict=True):
            had[demand.client] += tokens * demand.layers
    assert abs(had[b"few"] - had[b"many"]) <= 100 * 9


def test_a_slice_is_as_long_as_its_layers_and_its_context_let_it_take_the_time():
    """The first that goes takes what it can; the time that it leaves is the next one's."""
    waiting = [waits(b"a", 500, layers=10, ms=0.5)]
    assert plan_batch(waiting, FairShares(), PrefillBudget(512, 0.0301)) == [60]
    waiting = [waits(b"a", 500, layers=3, ms=0.15)]
    assert plan_batch(waiting, FairShares(), PrefillBudget(512, 0.0301)) == [200]
    waiting = [waits(b"a", 40, layers=10, ms=0.5), waits(b"b", 500, layers=10, ms=0.1)]
    assert plan_batch(waiting, FairShares(), PrefillBudget(512, 0.0301)) == [40, 100]


def test_a_slow_machine_runs_slices_that_are_worth_reading_the_weights():
    waiting = [waits(b"a", 20, ms=50.0), waits(b"b", 500, ms=50.0)]
    assert plan_batch(waiting, FairShares(), PrefillBudget(512, 0.030)) == [20, MIN_PREFILL_TOKENS - 20]


def test_prefill_runs_at_full_width_when_nobody_decodes_and_yields_when_somebody_does():
    assert prefill_budget(decoding=False) == PrefillBudget(MAX_BATCH_TOKENS, inf)
    assert prefill_budget(decoding=True) == PrefillBudget(MAX_BATCH_TOKENS, STALL_SECONDS)


def test_who_may_compute_for_a_part_of_the_time_only_does_so_in_shorter_batches():
    """A batch is followed by a pause, and others wait for both."""
    assert prefill_budget(decoding=False, duty=0.25) == PrefillBudget(MAX_BATCH_TOKENS // 4, inf)
    assert prefill_budget(decoding=True, duty=0.5).seconds == pytest.approx(STALL_SECONDS / 2)
    assert prefill_budget(decoding=True, duty=0.01).tokens == MIN_PREFILL_TOKENS


KNOWN, CROWD = "203.0.113.0/24", "198.51.100.0/24"


def decodes(client: bytes, source: str | None = KNOWN, *, is_known: bool = True, rows: int = 1) -> Demand:
    """A step of a row or more that a reader waits for; a token takes 1 ms beside others."""
    return replace(waits(client, rows, urgent=True), source=source, is_known=is_known)


def shared(step_seconds: float = 0.004) -> PrefillBudget:
    """While several parties decode, and a step takes so long alone."""
    return PrefillBudget(MAX_BATCH_TOKENS, STALL_SECONDS, step_seconds, step_seconds)


def test_a_crowd_of_fresh_keys_takes_no_more_of_a_batch_than_a_step_alone():
    crowd = [decodes(index.to_bytes(2, "big"), CROWD, is_known=False) for index in range(60)]
    taken = plan_batch([*crowd, decodes(b"known")], FairShares(), shared())
    assert (sum(taken[:-1]), taken[-1]) == (4, 1)


def test_documents_of_others_do_not_hold_up_who_decodes():
    for is_known in (False, True):
        document = replace(waits(b"new", 500), source=CROWD, is_known=is_known)
        assert plan_batch([document, decodes(b"known")], FairShares(), shared()) == [4, 1]


def test_of_those_who_are_known_each_network_has_a_step_of_every_batch():
    others = [decodes(b"busy", f"192.0.{number}.0/24", rows=100) for number in range(3)]
    assert plan_batch([*others, decodes(b"known")], FairShares(), shared()) == [4, 4, 4, 1]


def test_beside_a_newcomer_a_crowd_of_another_network_takes_no_more_than_a_step_alone():
    """Nobody is known."""
    crowd = [decodes(index.to_bytes(2, "big"), CROWD, is_known=False) for index in range(60)]
    waiting = [*crowd, decodes(b"newcomer", is_known=False)]
    networks = {demand.network for demand in waiting}
    taken = plan_batch(
        waiting, FairShares(), prefill_budget(decoding=True, step_seconds=0.004, networks=networks)
    )
    assert (sum(taken[:-1]), taken[-1]) == (4, 1)
    one = prefill_budget(decoding=True, step_seconds=0.004, networks={crowd[0].network})
    assert plan_batch(crowd, FairShares(), one) == [1] * 60


def test_strangers_share_by_network_first():
    """Sixty keys of one network have together what the one of another has."""
    shares, had = FairShares(), {CROWD: 0, KNOWN: 0}
    waiting = [decodes(index.to_bytes(2, "big"), CROWD, is_known=False) for index in range(60)]
    waiting.append(decodes(b"newcomer", is_known=False))
    for _ in range(100):
        taken = plan_batch([*waiting, decodes(b"known", "192.0.2.0/24")], shares, shared(0.001))
        for tokens, demand in zip(taken, waiting, strict=False):
            had[demand.source] += tokens
    assert sum(had.values()) == 100
    assert abs(had[CROWD] - had[KNOWN]) <= 1


@given(few_demands, st.floats(1e-6, 0.1))
def test_every_step_is_run_in_the_end_while_parties_share(waiting, step_seconds):
    shares = FairShares()
    left = [demand.tokens for demand in waiting]
    for _ in range(40 * sum(left)):
        now = [replace(demand, tokens=tokens) for demand, tokens in zip(waiting, left, strict=True) if tokens]
        backlog = [index for index, tokens in enumerate(left) if tokens]
        if not backlog:
            break
        endless = [decodes(b"endless"), *(decodes(bytes([key]), CROWD, is_known=False) for key in range(9))]
        planned = plan_batch([*now, *endless], shares, shared(step_seconds))
        assert sum(planned) > 0
        for index, tokens in zip(backlog, planned, strict=False):
            left[index] -= tokens
    assert not any(left)


def test_a_crowd_that_decodes_does_not_keep_a_newcomers_prompt_out():
    """All of them are strangers, and share one ration."""
    shares, left = FairShares(), 40
    crowd = [decodes(index.to_bytes(2, "big"), CROWD, is_known=False, rows=8) for index in range(60)]
    for _ in range(30):
        prompt = replace(waits(b"new", left), source="elsewhere", is_known=False)
        taken = plan_batch([*crowd, prompt, decodes(b"known")], shares, shared())
        left -= taken[-2]
        if not left:
            return
    raise AssertionError(left)


def test_of_one_client_decode_steps_go_before_its_documents_also_where_parties_share():
    waiting = [waits(b"one", 500), decodes(b"one", None), decodes(b"other")]
    assert plan_batch(waiting, FairShares(), shared()) == [3, 1, 1]
