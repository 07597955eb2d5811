"""What the client does after an error of a hop."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.client.failover.recovery import FAILED_PEER_SECONDS, Remedy, after_failure
from p2pinfer.client.trust.reputation import Offence
from p2pinfer.errors import (
    HopFailedError,
    HopLiedError,
    HopStalledError,
    LinkFailedError,
    NoRouteError,
    RefusedError,
    UsageError,
)
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
    """Both peers may be healthy: only the link between them is in doubt."""
    remedy = after_failure(LinkFailedError(PEER, OTHER, "cut"))
    assert remedy == Remedy(avoid_link=(PEER, OTHER), suspects={PEER: 0.5, OTHER: 0.5})


def test_of_a_link_to_the_client_only_the_server_is_suspected():
    remedy = after_failure(LinkFailedError(PeerId(""), PEER, "cut"))
    assert remedy == Remedy(avoid_link=(PeerId(""), PEER), suspects={PEER: 1.0})


def test_what_a_server_has_done_is_named_so_that_it_is_remembered():
    stalled = after_failure(HopStalledError(PEER, "it has held a step"))
    assert stalled == Remedy(replace=PEER, doubt=PEER, offence=Offence.STALLED)
    lied = after_failure(HopLiedError(PEER, "steps that nobody has sent"))
    assert lied is not None
    assert (lied.avoid, lied.offence) == (PEER, Offence.LIED)


def test_a_full_peer_is_asked_again_when_it_said():
    remedy = after_failure(RefusedError(PEER, Reason.CACHE_FULL, "full", 2.0))
    assert remedy == Remedy(replace=PEER, avoid=PEER, avoid_seconds=2.0)


@given(reason=st.sampled_from(list(Reason)), retry=st.floats(0, 60))
def test_every_refusal_has_an_answer(reason: Reason, retry: float):
    """A server that refuses is replaced, and avoided for a while unless it has only lost the session.

    One that loses sessions again and again is suspected.
    """
    remedy = after_failure(RefusedError(PEER, reason, "", retry))
    assert remedy is not None
    assert remedy.replace == PEER
    assert remedy.avoid == (None if reason in SESSION_GONE else PEER)
    assert bool(remedy.suspects) is (reason in SESSION_GONE)
    if remedy.avoid:
        assert remedy.avoid_seconds == (retry or FAILED_PEER_SECONDS)


@pytest.mark.parametrize("error", [NoRouteError("no server"), UsageError("no")])
def test_what_is_not_a_peers_doing_is_not_rerouted(error: Exception):
    assert after_failure(error) is None
