"""How much this server may give to others now: the owner's rules, less what was given this month."""

from __future__ import annotations

from collections.abc import Callable

from p2pinfer.owner.policy.policy import Policy
from p2pinfer.sharing.give.limits import SharingLimits

_GIGABYTE = 1e9


def sharing_limits(policy: Policy, *, shared_bytes: int, traffic_bytes: int) -> SharingLimits:
    """The limits under this policy. Both numbers are of this month and of all servers; shared is traffic too.

    Sharing ends with its own gigabytes, or with those of all traffic, whichever is sooner.
    """
    sharing, left = policy.sharing, []
    if sharing.monthly_gb is not None:
        left.append(sharing.monthly_gb * _GIGABYTE - shared_bytes)
    if policy.monthly_traffic_gb is not None:
        left.append(policy.monthly_traffic_gb * _GIGABYTE - traffic_bytes)
    return SharingLimits(
        enabled=sharing.enabled,
        bits_per_second=None if sharing.mbit_per_s is None else sharing.mbit_per_s * 1e6,
        left_bytes=max(0, int(min(left))) if left else None,
    )


class SharingAllowance:
    """Asked before every part that is sent: it only adds up numbers that are there."""

    def __init__(
        self,
        policy: Callable[[], Policy],
        shared_bytes: Callable[[], int],
        traffic_bytes: Callable[[], int],
    ) -> None:
        """The policy in force, and what was shared, and sent and received in all, this month."""
        self._policy = policy
        self._shared_bytes = shared_bytes
        self._traffic_bytes = traffic_bytes

    def limits(self) -> SharingLimits:
        """The limits at this moment."""
        return sharing_limits(
            self._policy(), shared_bytes=self._shared_bytes(), traffic_bytes=self._traffic_bytes()
        )
