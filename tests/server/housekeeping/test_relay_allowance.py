"""What the owner's rules let a server relay, this month."""

from __future__ import annotations

from p2pinfer.owner.policy.policy import Policy, Relaying
from p2pinfer.server.housekeeping.relay_allowance import RelayAllowance
from p2pinfer.swarm.reach.relay.allowance import Allowance
from p2pinfer.swarm.reach.relay.month import Month
from p2pinfer.swarm.reach.relay.passed import PassedOn

GB = 1_000_000_000


def allowed(policy: Policy, *, relayed: int = 0, traffic: int = 0) -> Allowance:
    passed = PassedOn()
    allowance = RelayAllowance(lambda: policy, lambda: traffic, Month(None, passed=passed))
    passed.count(relayed)
    return allowance()


def test_without_rules_of_its_own_the_defaults_hold():
    assert allowed(Policy()) == Allowance(bytes_per_second=625_000)
    assert allowed(Policy(), relayed=50 * GB - 1).refusal == ""
    assert "in a month" in allowed(Policy(), relayed=50 * GB).refusal


def test_an_owner_may_forbid_it():
    assert "owner" in allowed(Policy(relaying=Relaying(enabled=False))).refusal
    assert allowed(Policy(relaying=Relaying(monthly_gb=0))).refusal != ""


def test_the_gigabytes_of_all_traffic_end_relaying_too():
    policy = Policy(monthly_traffic_gb=10)
    assert allowed(policy, traffic=10 * GB - 1).refusal == ""
    refused = allowed(policy, traffic=10 * GB)
    assert "traffic of the month" in refused.refusal
    assert 0 < refused.come_back_seconds <= 31 * 86400
