"""Which failures another route can mend."""

from __future__ import annotations

import pytest

from p2pinfer.client.recovery import FAILED_PEER_SECONDS, UNCERTAIN_PEER_SECONDS, Reroute, after_failure
from p2pinfer.errors import HopFailedError, NoRouteError, RefusedError
from p2pinfer.types import PeerId
from p2pinfer.wire.status import Reason

PEER = PeerId("12D3KooWpeer")


def test_a_peer_that_failed_is_left_out_for_a_while():
    assert after_failure(HopFailedError(PEER, "gone")) == Reroute(PEER, FAILED_PEER_SECONDS)


def test_a_peer_that_may_be_innocent_is_only_passed_over_for_the_next_route():
    uncertain = after_failure(HopFailedError(PEER, "no answer", certain=False))
    assert uncertain == Reroute(PEER, UNCERTAIN_PEER_SECONDS)
    assert 0 < UNCERTAIN_PEER_SECONDS <= 1


def test_a_full_peer_is_asked_again_when_it_said():
    assert after_failure(RefusedError(PEER, Reason.CACHE_FULL, "full", 2.0)) == Reroute(PEER, 2.0)


def test_an_idle_session_is_opened_again_with_the_same_peers():
    assert after_failure(RefusedError(PEER, Reason.IDLE, "idle")) == Reroute(None, 0.0)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_an_answer_and_only_a_bad_opening_has_no_other_way(reason):
    assert (after_failure(RefusedError(PEER, reason, "")) is None) == (reason is Reason.BAD_OPENING)


def test_what_is_not_a_peers_doing_is_not_rerouted():
    assert after_failure(NoRouteError("nobody")) is None
