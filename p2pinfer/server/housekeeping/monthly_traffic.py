"""How many bytes this machine's servers have sent and received since the month began."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Self

from p2pinfer.owner.ledger.interval import Interval
from p2pinfer.owner.ledger.ledger_writer import LedgerWriter
from p2pinfer.owner.metering.energy import Look
from p2pinfer.owner.signals.readings import Reading, Signal


def month_began_at(zone: tzinfo) -> float:
    """Unix seconds: when the month that it is in this zone began."""
    return datetime.now(zone).replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()


class MonthlyTraffic:
    """The signal that the owner's traffic cap is compared with. For the event loop."""

    def __init__(self, ledger: LedgerWriter, zone: tzinfo) -> None:
        self._ledger = ledger
        self._zone = zone
        self._written_bytes = 0
        self._unwritten_bytes = 0

    @classmethod
    async def of(cls, ledger: LedgerWriter, zone: tzinfo) -> Self:
        """Begin with what the ledger has for this month. Raises LedgerError."""
        traffic = cls(ledger, zone)
        await traffic.refresh()
        return traffic

    @property
    def total_bytes(self) -> int:
        """As of the last look at the counters."""
        return self._written_bytes + self._unwritten_bytes

    def readings(self) -> Mapping[Signal, Reading]:
        """The signal as it is now, dated now."""
        total = self.total_bytes
        return {
            Signal.TRAFFIC_BYTES: Reading(
                value=float(total), at=time.time(), words=f"{total / 1e9:.1f} GB of traffic this month"
            )
        }

    def count(self, since: Look, now: Look) -> None:
        """Note the traffic that isn't in the ledger yet. `since` is the look that ended the last interval."""
        self._unwritten_bytes = (now.sent_bytes - since.sent_bytes) + (
            now.received_bytes - since.received_bytes
        )

    def written(self, interval: Interval) -> None:
        """Note that the ledger has this interval now, and with it everything that was counted before."""
        self._written_bytes += interval.sent_bytes + interval.received_bytes
        self._unwritten_bytes = 0

    async def refresh(self) -> None:
        """Read the ledger, where other servers write too, when a month begins. Raises LedgerError."""
        since = month_began_at(self._zone)
        self._written_bytes = await self._ledger.ask(lambda ledger: ledger.traffic_bytes(since=since))
        self._unwritten_bytes = 0
