"""Decides whether files are sent to others now, and how fast: sessions go first, and the owner's limits hold.

activations wait                          nothing
a session had a step in the last second   a trickle, in the gaps
otherwise                                 as fast as the owner allows
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from p2pinfer.sharing.give.activity import Activity
from p2pinfer.sharing.give.limits import SharingLimits
from p2pinfer.sharing.give.token_bucket import TokenBucket
from p2pinfer.wire.status import Reason, Refused
from p2pinfer.wire.traffic import SHARED, Traffic

MOST_PART_BYTES = 48 * 1024
"""What is sent at once. An activation that comes right behind it waits 20 ms on an uplink of 20 Mbit/s."""
TRICKLE_BITS_PER_SECOND = 2e6
"""While sessions are active: a tenth of a usual uplink, so that nearly every step finds it free."""
ACTIVE_SECONDS = 1.0
"""Sessions are active for this long after a step: over several hops a token comes back within it."""
POLL_SECONDS = 0.02
"""How often the one that is next looks for a gap."""
MOST_SLEEP_SECONDS = 0.05
"""Within this time a change of the owner's limits takes effect."""
PATIENCE_SECONDS = 10.0
"""If no gap is seen for this long, those who wait are sent away: they may ask others meanwhile."""
_AWAY_SECONDS = 60.0  # to wait for an owner; the most that a refusal can say
_GRANT_SECONDS = 60.0  # a part that was granted and isn't sent by then never is


class Gate:
    """For all sends of one server together. For the event loop.

    For each part of at most MOST_PART_BYTES, in order: `wait_to_send`, then send it, then `sent`, or
    `not_sent`. Those who wait take turns. The limits are asked for at every step, so a change takes effect
    at once.
    """

    def __init__(
        self,
        limits: Callable[[], SharingLimits],
        activity: Callable[[], Activity],
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        counter: Traffic = SHARED,
    ) -> None:
        """`limits` must take what `counter` has counted off the bytes that are left, without delay."""
        self._limits = limits
        self._activity = activity
        self._now = now
        self._sleep = sleep
        self._counter = counter
        self._bucket = TokenBucket(least_burst_bytes=2 * MOST_PART_BYTES, now=now())
        self._turn = asyncio.Lock()
        self._grants: list[tuple[float, int]] = []  # (when, bytes) of parts that aren't sent yet
        self._blocked_since = self._blocked_at = float("-inf")

    def may_begin(self) -> Refused | None:
        """Why no file, or chunk of a file, may be begun now; None if it may."""
        return self._refusal(1)

    async def wait_to_send(self, size_bytes: int) -> None:
        """Wait until a part of this size may be sent. May be cancelled.

        Raises Refused: NOT_SHARING, if the owner doesn't want it any more, if this part is more than what is
        left of the month, or if sessions leave no gap for PATIENCE_SECONDS.
        """
        if not 0 < size_bytes <= MOST_PART_BYTES:
            raise ValueError(f"a part has 1 to {MOST_PART_BYTES} bytes, not {size_bytes}")
        async with self._turn:
            while seconds := self._seconds_to_wait(size_bytes):
                await self._sleep(seconds)
            self._grants.append((self._now(), size_bytes))

    def sent(self, size_bytes: int) -> None:
        """Note that a part was sent which `wait_to_send` had granted."""
        self._counter.count_sent(size_bytes)
        self._release(size_bytes)

    def not_sent(self, size_bytes: int) -> None:
        """Give back what `wait_to_send` had granted: the call has ended before the part was sent."""
        self._release(size_bytes)

    def _release(self, size_bytes: int) -> None:
        for index, (_, granted_bytes) in enumerate(self._grants):
            if granted_bytes == size_bytes:
                del self._grants[index]
                break

    def _seconds_to_wait(self, size_bytes: int) -> float:
        """How long to sleep before the next look; 0.0: the part may be sent now. Raises Refused."""
        if (refused := self._refusal(size_bytes)) is not None:
            raise refused
        limits, activity, now = self._limits(), self._activity(), self._now()
        if activity.waiting:
            self._check_patience(now)
            return POLL_SECONDS
        self._blocked_at = float("-inf")
        rate = limits.bits_per_second
        if activity.seconds_since_step < ACTIVE_SECONDS:
            rate = TRICKLE_BITS_PER_SECOND if rate is None else min(rate, TRICKLE_BITS_PER_SECOND)
        if rate is None:
            return 0.0
        return min(self._bucket.take(size_bytes, rate / 8, now), MOST_SLEEP_SECONDS)

    def _check_patience(self, now: float) -> None:
        if now - self._blocked_at > 1.0:  # there was a gap, or nobody looked
            self._blocked_since = now
        self._blocked_at = now
        if now - self._blocked_since >= PATIENCE_SECONDS:
            raise _not_sharing("this server's sessions leave no time to share files now", PATIENCE_SECONDS)

    def _refusal(self, size_bytes: int) -> Refused | None:
        limits = self._limits()
        if not limits.enabled:
            return _not_sharing("the owner of this server gives no files to others", _AWAY_SECONDS)
        if limits.left_bytes is not None and size_bytes > limits.left_bytes - self._granted_bytes():
            return _not_sharing("this server has shared all that its owner gives in a month", _AWAY_SECONDS)
        return None

    def _granted_bytes(self) -> int:
        since = self._now() - _GRANT_SECONDS
        self._grants = [grant for grant in self._grants if grant[0] > since]
        return sum(size_bytes for _, size_bytes in self._grants)


def _not_sharing(words: str, retry_after_seconds: float) -> Refused:
    return Refused(Reason.NOT_SHARING, words, retry_after_seconds)
