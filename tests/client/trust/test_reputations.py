"""So many servers are remembered, and nobody displaces good ones by misbehaving in many names."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.client.trust.reputation import Offence, Reputation
from p2pinfer.client.trust.reputations import MOST_OF_A_HALF, Reputations, as_json, from_json
from p2pinfer.types import PeerId

NOW = 1.8e9


def peer(number: int) -> PeerId:
    return PeerId(f"12D3KooW{number}")


def test_ten_thousand_identities_that_stall_displace_none_that_has_worked():
    reputations = Reputations()
    for number in range(100):
        reputations.work(peer(number), 100, NOW)
    for number in range(1000, 11_000):
        reputations.offended(peer(number), Offence.STALLED, NOW + number)
    assert all(reputations.of(peer(number)).is_known(NOW) for number in range(100))
    assert reputations.of(peer(10_999)).is_doubted(NOW + 10_999)
    assert len(reputations.known) <= 2 * MOST_OF_A_HALF


def test_ten_thousand_that_work_a_little_displace_none_that_has_done_harm():
    reputations = Reputations()
    for number in range(100):
        reputations.offended(peer(number), Offence.LIED, NOW)
    for number in range(1000, 11_000):
        reputations.work(peer(number), 16, NOW)
    assert all(reputations.of(peer(number)).is_doubted(NOW + 1) for number in range(100))
    assert len(reputations.known) <= 2 * MOST_OF_A_HALF


def test_strangers_are_trusted_as_far_as_they_have_turned_out_well():
    reputations = Reputations()
    assert reputations.strangers_trust(NOW) == 1.0
    for number in range(4):
        reputations.work(peer(number), 100, NOW)
    assert reputations.strangers_trust(NOW) == 1.0
    for number in range(10, 15):
        reputations.offended(peer(number), Offence.STALLED, NOW)
    assert reputations.strangers_trust(NOW) == pytest.approx(0.5)


def test_what_is_written_is_read_again():
    reputations = Reputations()
    reputations.work(peer(1), 40, NOW)
    reputations.offended(peer(2), Offence.SLOW, NOW)
    assert from_json(json.loads(json.dumps(as_json(reputations.known)))) == reputations.known


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@given(read=JSON | st.fixed_dictionaries({"version": st.just(1), "servers": JSON}))
def test_a_spoiled_file_is_a_value_error_and_nothing_else(read: object):
    try:
        known = from_json(read)
    except ValueError:
        return
    assert all(isinstance(one, Reputation) for one in known.values())


@pytest.mark.parametrize(
    "values",
    [
        [1, 1.0, 0, 0.0],
        [True, 1.0, 0, 0.0, 0.0],
        [1.5, 1.0, 0, 0.0, 0.0],
        [-1, 1.0, 0, 0.0, 0.0],
        [1, float("nan"), 0, 0.0, 0.0],
        [1, float("inf"), 0, 0.0, 0.0],
        [1, 1.0, 10**30, 0.0, 0.0],
    ],
    ids=["short", "true", "half a step", "negative", "nan", "endless", "huge"],
)
def test_numbers_that_no_client_writes_are_refused(values: list[object]):
    with pytest.raises(ValueError, match=r"number|bounds|reputation"):
        from_json({"version": 1, "servers": {"12D3KooW1": values}})
