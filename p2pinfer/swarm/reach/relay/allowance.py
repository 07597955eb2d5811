"""What a relay's owner allows at a moment, and how fast bytes may pass. Pure: the caller has the clock."""

from __future__ import annotations

from dataclasses import dataclass

MAX_CIRCUITS = 256
MAX_CIRCUITS_PER_CLIENT = 32  # a session through three servers at one relay takes five, a look at others more
BURST_SECONDS = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What may be relayed now. Allowance() has no limit of traffic.

    Each byte that is passed on is received once and sent once: a rate of 5 Mbit/s takes as much of the
    owner's line in each direction.
    """

    refusal: str = ""  # why nothing may be relayed now; empty: it may
    come_back_seconds: float = 0.0  # with a refusal: when that may have changed; 0: unknown
    max_circuits: int = MAX_CIRCUITS
    max_circuits_per_client: int = MAX_CIRCUITS_PER_CLIENT
    bytes_per_second: float | None = None  # of all circuits together; None: unlimited


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficLimits:
    """How much a relay may pass on. TrafficLimits() is a relay without limits."""

    enabled: bool = True
    mbit_per_s: float | None = None
    monthly_gb: float | None = None


def allowance_of(
    limits: TrafficLimits,
    *,
    relayed_bytes: int,
    seconds_to_next_month: float,
    traffic_left_bytes: float | None = None,
) -> Allowance:
    """The allowance under these limits, when `relayed_bytes` were passed on this month.

    `traffic_left_bytes` is what remains of the month's traffic of all kinds, in both directions.
    """
    if not limits.enabled:
        return Allowance(refusal="this member's owner doesn't let it relay")
    if limits.monthly_gb is not None and relayed_bytes >= limits.monthly_gb * 1e9:
        return Allowance(
            refusal="this relay has passed on what it may in a month", come_back_seconds=seconds_to_next_month
        )
    if traffic_left_bytes is not None and traffic_left_bytes <= 0:
        return Allowance(
            refusal="this relay has had its traffic of the month", come_back_seconds=seconds_to_next_month
        )
    rate = None if limits.mbit_per_s is None else limits.mbit_per_s * 1e6 / 8
    return Allowance(bytes_per_second=rate)


class TokenBucket:
    """How long bytes have to wait so that their rate stays within a limit.

    After a pause, `BURST_SECONDS` of the rate pass without waiting: a prompt is a burst, an answer is not.
    """

    def __init__(self) -> None:
        self._rate: float | None = None
        self._free_at = float("-inf")  # when everything that was let through has been paid for

    def set_rate(self, bytes_per_second: float | None) -> None:
        """Change the limit from now on; None: no limit."""
        self._rate = bytes_per_second

    def take(self, number: int, now: float) -> float:
        """Let `number` bytes through; returns the seconds to wait before they are sent. In order of asking.

        >>> bucket = TokenBucket()
        >>> bucket.set_rate(100.0)
        >>> bucket.take(400, now=0.0), bucket.take(100, now=0.0), bucket.take(100, now=2.0)
        (0.0, 1.0, 0.0)
        """
        if self._rate is None:
            return 0.0
        self._free_at = max(self._free_at, now - BURST_SECONDS) + number / self._rate
        return max(0.0, self._free_at - now)
