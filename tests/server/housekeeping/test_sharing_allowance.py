"""What the owner's rules leave for others, this month."""

from __future__ import annotations

from p2pinfer.owner.policy.policy import Policy, Sharing
from p2pinfer.server.housekeeping.sharing_allowance import SharingAllowance, sharing_limits
from p2pinfer.sharing.give.limits import SharingLimits

GB = 1_000_000_000


def test_without_rules_there_are_no_limits():
    assert sharing_limits(Policy(), shared_bytes=90 * GB, traffic_bytes=90 * GB) == SharingLimits()


def test_an_owner_may_give_nothing():
    policy = Policy(sharing=Sharing(enabled=False))
    assert not sharing_limits(policy, shared_bytes=0, traffic_bytes=0).enabled


def test_gigabytes_and_megabits_are_decimal():
    policy = Policy(sharing=Sharing(monthly_gb=50, mbit_per_s=5))
    limits = sharing_limits(policy, shared_bytes=49 * GB, traffic_bytes=90 * GB)
    assert limits == SharingLimits(bits_per_second=5e6, left_bytes=GB)


def test_the_gigabytes_of_all_traffic_end_sharing_too():
    """Whichever is sooner; a cap that is exceeded leaves nothing, not less."""
    policy = Policy(monthly_traffic_gb=100, sharing=Sharing(monthly_gb=50))
    left = [
        sharing_limits(policy, shared_bytes=shared * GB, traffic_bytes=traffic * GB).left_bytes
        for shared, traffic in ((10, 20), (10, 95), (49, 60), (10, 101), (51, 60))
    ]
    assert left == [40 * GB, 5 * GB, GB, 0, 0]
    assert sharing_limits(Policy(monthly_traffic_gb=1), shared_bytes=0, traffic_bytes=0).left_bytes == GB


def test_a_changed_policy_counts_at_once():
    policies = [Policy()]
    allowance = SharingAllowance(lambda: policies[-1], lambda: 1, lambda: 2)
    assert allowance.limits() == SharingLimits()
    policies.append(Policy(sharing=Sharing(monthly_gb=0)))
    assert allowance.limits().left_bytes == 0
