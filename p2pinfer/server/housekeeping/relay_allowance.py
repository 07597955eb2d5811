"""How much this server may relay now: the owner's rules, less what went through this month."""

from __future__ import annotations

from collections.abc import Callable

from p2pinfer.owner.policy.policy import Policy
from p2pinfer.swarm.reach.relay.allowance import Allowance, TrafficLimits, allowance_of
from p2pinfer.swarm.reach.relay.month import Month

_GIGABYTE = 1e9


class RelayAllowance:
    """Asked every second and before every new stream: it only adds up numbers that are there."""

    def __init__(self, policy: Callable[[], Policy], traffic_bytes: Callable[[], int], month: Month) -> None:
        """The policy in force, and what this month's servers sent and received in all."""
        self._policy = policy
        self._traffic_bytes = traffic_bytes
        self._month = month

    def __call__(self) -> Allowance:
        """The allowance at this moment."""
        policy, left = self._policy(), None
        if policy.monthly_traffic_gb is not None:
            left = policy.monthly_traffic_gb * _GIGABYTE - self._traffic_bytes()
        return allowance_of(
            TrafficLimits(
                enabled=policy.relaying.enabled,
                mbit_per_s=policy.relaying.mbit_per_s,
                monthly_gb=policy.relaying.monthly_gb,
            ),
            relayed_bytes=self._month.relayed_bytes,
            seconds_to_next_month=self._month.seconds_left,
            traffic_left_bytes=left,
        )
