"""What follows from an error, and where an overdue step is: decided for every order of events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.client.chain.recovery import (
    FAILED_PEER_SECONDS,
    HopProgress,
    Remedy,
    Silent,
    Stuck,
    Working,
    after_failure,
    diagnose,
)
from p2pinfer.errors import HopFailedError, LinkFailedError, NoRouteError, RefusedError, UsageError
from p2pinfer.types import PeerId
from p2pinfer.wire.status import Reason

PEER, OTHER = PeerId("12D3KooWpeer"), PeerId("12D3KooWother")
SESSION_GONE = {Reason.IDLE, Reason.UNKNOWN_SESSION}


def test_a_peer_that_broke_the_rules_is_replaced_and_left_out_for_a_while():
    remedy = after_failure(HopFailedError(PEER, "its answer is wrong"))
    assert remedy == Remedy(replace=PEER, avoid=PEER, avoid_seconds=FAILED_PEER_SECONDS)


def test_a_peer_that_may_be_innocent_is_replaced_and_asked_again_only_if_there_is_no_other():
    remedy = after_failure(HopFailedError(PEER, "no answer", certain=False))
    assert remedy == Remedy(replace=PEER, doubt=PEER)


def test_a_broken_link_costs_nobody_the_place():
    """Both ends may be well: only their being neighbours is in doubt."""
    assert after_failure(LinkFailedError(PEER, OTHER, "cut")) == Remedy(avoid_link=(PEER, OTHER))


def test_a_full_peer_is_asked_again_when_it_said():
    remedy = after_failure(RefusedError(PEER, Reason.CACHE_FULL, "full", 2.0))
    assert remedy == Remedy(replace=PEER, avoid=PEER, avoid_seconds=2.0)


@given(reason=st.sampled_from(list(Reason)), retry=st.floats(0, 60))
def test_every_refusal_has_an_answer_and_only_a_bad_opening_has_no_other_way(reason: Reason, retry: float):
    """Whoever refused is replaced, and kept away from unless it only has lost the session."""
    remedy = after_failure(RefusedError(PEER, reason, "", retry))
    if reason is Reason.BAD_OPENING:
        assert remedy is None
        return
    assert remedy is not None
    assert remedy.replace == PEER
    assert remedy.avoid == (None if reason in SESSION_GONE else PEER)
    if remedy.avoid:
        assert remedy.avoid_seconds == (retry or FAILED_PEER_SECONDS)


@pytest.mark.parametrize("error", [NoRouteError("nobody"), UsageError("no")])
def test_what_is_not_a_peers_doing_is_not_rerouted(error: Exception):
    assert after_failure(error) is None


STEP_IDS = st.integers(0, 6)


@st.composite
def progresses(draw: st.DrawFn) -> HopProgress:
    """Of an honest hop: it computes what it has received, and sends what it has computed."""
    sent = draw(STEP_IDS)
    computed = draw(st.integers(sent, 6))
    return HopProgress(received=draw(st.integers(computed, 6)), computed=computed, sent=sent)


@given(step_id=st.integers(1, 6), hops=st.lists(st.none() | progresses(), min_size=1, max_size=5))
def test_whoever_does_not_answer_is_to_blame_first(step_id: int, hops: list[HopProgress | None]):
    """Whatever the others say: what a silent hop holds up looks like their fault."""
    verdict = diagnose(step_id, hops)
    if None in hops:
        assert verdict == Silent(hops.index(None))
    else:
        assert not isinstance(verdict, Silent)


@given(step_id=st.integers(1, 6), hops=st.lists(progresses(), min_size=1, max_size=5))
def test_the_step_is_where_the_first_hop_is_that_is_not_done_with_it(step_id: int, hops: list[HopProgress]):
    """Everybody before has sent it on; a hop that has it works on it, or can't get rid of it."""
    verdict = diagnose(step_id, hops)
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
    """In every order in which a pipeline's events can come, no earlier hop is blamed than before."""
    received, computed, sent = [0] * hops, [0] * hops, [0] * hops
    where = -2.0
    while True:
        verdict = diagnose(
            step_id,
            [
                HopProgress(received=r, computed=c, sent=s)
                for r, c, s in zip(received, computed, sent, strict=True)
            ],
        )
        assert not isinstance(verdict, Silent)
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
