"""Which errors are tried again, when and how often."""

from __future__ import annotations

import math

import pytest

from p2pinfer.backoff import Backoff
from p2pinfer.documents.running.pace import Pace
from p2pinfer.documents.running.retrying import MOST_ATTEMPTS, Trouble, Verdict, trouble_of, verdict_on
from p2pinfer.errors import (
    ROOM,
    GrammarError,
    HopFailedError,
    NoRouteError,
    PromptTooLongError,
    ProtocolError,
    RefusedError,
    SwarmUnreachableError,
    UnusableModelError,
)
from p2pinfer.openai_api.errors import ApiError
from p2pinfer.types import PeerId

PEER = PeerId("12D3KooWtest")
PACE = Pace(
    document=Backoff(first_seconds=2.0, most_seconds=60.0),
    doubtful=Backoff(first_seconds=30.0, most_seconds=600.0),
)


def verdict(
    error: Exception,
    *,
    attempts: int = 0,
    tries: int = 0,
    has_answered_since: bool = False,
    is_without_others: bool = False,
) -> Verdict:
    """Without chance: pauses are as long as planned."""
    return verdict_on(
        error,
        attempts=attempts,
        tries=tries,
        has_answered_since=has_answered_since,
        is_without_others=is_without_others,
        pace=PACE,
        chance=lambda: 0.5,
    )


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (ApiError(400, "no"), Trouble.IN_DOCUMENT),
        (ApiError(404, "no"), Trouble.IN_DOCUMENT),
        (ApiError(408, "slow"), Trouble.IN_ATTEMPT),
        (ApiError(429, "full"), Trouble.IN_SWARM_OR_DOCUMENT),
        (ApiError(500, "odd"), Trouble.IN_ATTEMPT),
        (ApiError(503, "away"), Trouble.IN_SWARM),
        (PromptTooLongError("long"), Trouble.IN_DOCUMENT),
        (UnusableModelError("odd"), Trouble.IN_DOCUMENT),
        (GrammarError("odd"), Trouble.IN_DOCUMENT),
        (NoRouteError("none"), Trouble.IN_SWARM),
        (NoRouteError("full", waiting_for=ROOM), Trouble.IN_SWARM_OR_DOCUMENT),
        (RefusedError(PEER, "cache_full", "no memory"), Trouble.IN_SWARM_OR_DOCUMENT),
        (HopFailedError(PEER, "gone"), Trouble.IN_SWARM_OR_DOCUMENT),
        (SwarmUnreachableError("nobody"), Trouble.IN_SWARM),
        (ProtocolError("odd"), Trouble.IN_ATTEMPT),
        (ZeroDivisionError(), Trouble.IN_ATTEMPT),
    ],
)
def test_each_error_says_where_the_trouble_is(error: Exception, trouble: Trouble):
    assert trouble_of(error) is trouble


def test_a_wrong_document_is_never_tried_again():
    assert verdict(ApiError(400, "no"), has_answered_since=True) == Verdict(is_final=True)


def test_pauses_grow_until_the_attempts_are_used_up():
    pauses = [
        verdict(HopFailedError(PEER, "gone"), attempts=n, tries=n, has_answered_since=True).pause_seconds
        for n in range(MOST_ATTEMPTS - 1)
    ]
    assert pauses == [2.0, 4.0, 8.0, 16.0]
    last = verdict(HopFailedError(PEER, "gone"), attempts=MOST_ATTEMPTS - 1, has_answered_since=True)
    assert last == Verdict(is_final=True)


@pytest.mark.parametrize("attempts", [0, MOST_ATTEMPTS - 1])
def test_a_swarm_that_is_away_uses_no_attempts(attempts: int):
    """Also for a document that has one left, and for one that is alone. All wait."""
    for alone in (False, True):
        found = verdict(NoRouteError("none"), attempts=attempts, is_without_others=alone)
        assert found == Verdict(holds_all=True)


def test_full_servers_use_attempts_only_where_others_were_answered_or_are_no_more():
    """Either it is the document that they can't take, or nobody can tell."""
    full = RefusedError(PEER, "cache_full", "no memory")
    assert verdict(full, attempts=4, tries=2) == Verdict(pause_seconds=8.0)
    assert verdict(full, has_answered_since=True) == Verdict(counts=True, pause_seconds=2.0)
    assert verdict(full, is_without_others=True) == Verdict(counts=True, pause_seconds=30.0)


@pytest.mark.parametrize(
    ("asked", "pause"), [(0.5, 2.0), (30.0, 30.0), (1e9, 300.0), (math.inf, 300.0), (-5.0, 2.0)]
)
def test_a_server_can_ask_to_be_left_alone_for_a_while(asked: float, pause: float):
    error = RefusedError(PEER, "cache_full", "no memory", retry_after_seconds=asked)
    assert verdict(error, has_answered_since=True).pause_seconds == pause
