"""What a new route changes in a chain: only the links that don't exist yet."""

from __future__ import annotations

from p2pinfer.client.chain.hop import Hop
from p2pinfer.client.chain.splice_plan import plan_splice


def hops(count: int) -> list[Hop]:
    return [Hop(server=None, carrier=None) for _ in range(count)]  # type: ignore[arg-type]


def test_a_new_chain_is_all_seams():
    first, last = hops(2)
    plan = plan_splice([], [], [first, last])
    assert plan.fresh == [first, last]
    assert plan.seams == [(None, first), (first, last), (last, None)]
    assert plan.cut == []


def test_a_hop_that_is_replaced_changes_the_two_links_at_its_sides():
    before, gone, after, fresh = hops(4)
    plan = plan_splice([before, gone, after], [], [before, fresh, after])
    assert plan.fresh == [fresh]
    assert plan.seams == [(before, fresh), (fresh, after)]
    assert plan.cut == [(before, gone), (gone, after)]


def test_a_broken_link_between_hops_that_stay_is_made_again():
    one, other = hops(2)
    plan = plan_splice([one, other], [(one, other)], [one, other])
    assert plan.fresh == []
    assert plan.seams == [(one, other)]
