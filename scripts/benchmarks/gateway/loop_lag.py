"""How late the gateway's event loop was between two readings of its metrics (pure)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = "p2pinfer_gateway_loop_lag_seconds"
_BUCKET = re.compile(rf'^{_NAME}_bucket{{le="(\S+)"}} (\S+)$', re.MULTILINE)
_SUM = re.compile(rf"^{_NAME}_sum (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """What the gateway has counted since it began: looks that were at most so late, in seconds."""

    buckets: dict[float, float]
    seconds: float
    """Of all looks together."""

    @classmethod
    def read(cls, metrics: str) -> Lag:
        """From the text of `/metrics`."""
        found = _SUM.search(metrics)
        return cls(
            buckets={float(bound): float(count) for bound, count in _BUCKET.findall(metrics)},
            seconds=float(found[1]) if found else 0.0,
        )

    def since(self, before: Lag) -> Lag:
        """What was counted after `before` was read."""
        return Lag(
            buckets={bound: count - before.buckets.get(bound, 0.0) for bound, count in self.buckets.items()},
            seconds=self.seconds - before.seconds,
        )

    def plus(self, other: Lag) -> Lag:
        """Both together."""
        bounds = self.buckets.keys() | other.buckets.keys()
        return Lag(
            buckets={bound: self.buckets.get(bound, 0.0) + other.buckets.get(bound, 0.0) for bound in bounds},
            seconds=self.seconds + other.seconds,
        )

    @property
    def looks(self) -> float:
        """How often it was looked."""
        return max(self.buckets.values(), default=0.0)

    @property
    def mean(self) -> float:
        """Seconds."""
        return self.seconds / self.looks if self.looks else 0.0

    def at_most(self, share: float) -> float:
        """The least bound, in seconds, that `share` of all looks keep."""
        for bound, count in sorted(self.buckets.items()):
            if count >= share * self.looks:
                return bound
        return float("inf")
