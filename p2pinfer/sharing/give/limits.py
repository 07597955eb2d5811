"""How much a machine gives to others now, as its owner wants it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingLimits:
    """The owner's limits at one moment. SharingLimits() has none."""

    enabled: bool = True
    bits_per_second: float | None = None  # of files, all sends together; None: as fast as the network is
    left_bytes: int | None = None  # of this month; None: no limit
