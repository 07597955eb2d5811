"""Where an overdue step is: decided for every order of events."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.client.chain.diagnosis import HopProgress, Lying, Silent, Stuck, Working, diagnose

LAST_STEP = 6
STEP_IDS = st.integers(0, LAST_STEP)


@st.composite
def progresses(draw: st.DrawFn) -> HopProgress:
    """Draw the reports of an honest hop: it computes only received steps, and sends only computed ones."""
    sent = draw(STEP_IDS)
    computed = draw(st.integers(sent, 6))
    return HopProgress(received=draw(st.integers(computed, 6)), computed=computed, sent=sent)


@given(step_id=st.integers(1, 6), hops=st.lists(st.none() | progresses(), min_size=1, max_size=5))
def test_whoever_does_not_answer_is_to_blame_first(step_id: int, hops: list[HopProgress | None]):
    """The other answers don't matter: a silent hop makes its neighbours look guilty."""
    verdict = diagnose(step_id, LAST_STEP, hops)
    if None in hops:
        assert verdict == Silent(hops.index(None))
    else:
        assert not isinstance(verdict, Silent)


@given(step_id=st.integers(1, 6), hops=st.lists(progresses(), min_size=1, max_size=5))
def test_the_step_is_where_the_first_hop_is_that_is_not_done_with_it(step_id: int, hops: list[HopProgress]):
    """All hops before this one have sent the step on. This hop is working, or can't send it."""
    verdict = diagnose(step_id, LAST_STEP, hops)
    at = next((index for index, hop in enumerate(hops) if hop.sent < step_id), len(hops))
    if at == len(hops):
        assert verdict == Stuck(len(hops) - 1), "all have sent it: it is on its way to the client"
    elif hops[at].received < step_id:
        assert verdict == Stuck(at - 1)
    elif hops[at].computed < step_id:
        assert verdict == Working(at)
    else:
        assert verdict == Stuck(at)


@given(data=st.data(), hops=st.integers(1, 5), step_id=st.integers(1, 4))
def test_as_a_step_moves_on_the_verdict_moves_with_it(data: st.DataObject, hops: int, step_id: int):
    """In every order of a pipeline's events, the verdict never moves back to an earlier hop."""
    received, computed, sent = [0] * hops, [0] * hops, [0] * hops
    where = -2.0
    while True:
        verdict = diagnose(
            step_id,
            LAST_STEP,
            [
                HopProgress(received=r, computed=c, sent=s)
                for r, c, s in zip(received, computed, sent, strict=True)
            ],
        )
        assert isinstance(verdict, Stuck | Working)
        now = verdict.sender + 0.5 if isinstance(verdict, Stuck) else float(verdict.hop)
        assert now >= where
        where = now
        moves = [
            (counter, index)
            for index in range(hops)
            for counter, limit in (
                (received, step_id if index == 0 else sent[index - 1]),
                (computed, received[index]),
                (sent, computed[index]),
            )
            if counter[index] < limit
        ]
        if not moves:
            break
        counter, index = data.draw(st.sampled_from(moves))
        counter[index] += 1
    assert verdict == Stuck(hops - 1)


@given(
    step_id=st.integers(1, 6),
    hops=st.lists(progresses(), min_size=1, max_size=5),
    which=st.integers(0, 4),
    beyond=st.integers(1, 2**60),
    field=st.sampled_from(["received", "computed", "sent"]),
)
def test_a_hop_that_has_had_steps_which_nobody_has_sent_lies(
    step_id: int, hops: list[HopProgress], which: int, beyond: int, field: str
):
    which %= len(hops)
    hops[which] = replace(hops[which], **{field: LAST_STEP + beyond})

    assert diagnose(step_id, LAST_STEP, hops) == Lying(which)


@given(step_id=st.integers(1, 6), received=STEP_IDS, computed=STEP_IDS, sent=STEP_IDS)
def test_no_hop_counts_as_having_sent_or_computed_what_it_has_not_received(
    step_id: int, received: int, computed: int, sent: int
):
    hop = HopProgress(received=received, computed=computed, sent=sent)
    verdict = diagnose(step_id, LAST_STEP, [hop])
    if received < step_id:
        assert verdict == Stuck(-1)
    elif computed < step_id:
        assert verdict == Working(0)
