"""How many bytes of model files this machine's servers have given to others since the month began."""

from __future__ import annotations

from datetime import tzinfo
from typing import Self

from p2pinfer.owner.ledger.interval import Interval
from p2pinfer.owner.ledger.ledger_writer import LedgerWriter
from p2pinfer.server.housekeeping.monthly_traffic import month_began_at
from p2pinfer.wire.traffic import SHARED, Traffic


class MonthlySharing:
    """What the ledger has of all servers, and what this one has shared since its last interval.

    For the event loop. Never less than what this server itself has shared, also if the ledger can't be
    written.
    """

    def __init__(self, ledger: LedgerWriter, zone: tzinfo, counter: Traffic = SHARED) -> None:
        self._ledger = ledger
        self._zone = zone
        self._counter = counter
        self._written_counter = counter.sent_bytes  # as it was at the end of the last interval
        self._month = month_began_at(zone)
        self._written_bytes = 0
        self._ever_written_bytes = 0  # by this server

    @classmethod
    async def of(cls, ledger: LedgerWriter, zone: tzinfo, counter: Traffic = SHARED) -> Self:
        """Begin with what the ledger has for this month. Raises LedgerError."""
        sharing = cls(ledger, zone, counter)
        await sharing.refresh()
        return sharing

    @property
    def total_bytes(self) -> int:
        """Of all servers; this one's up to this moment."""
        return self._written_bytes + self.unwritten_bytes

    @property
    def unwritten_bytes(self) -> int:
        """This server's that aren't in the ledger yet: other servers don't know of them."""
        return self._counter.sent_bytes - self._written_counter

    def written(self, interval: Interval) -> None:
        """Note that the ledger has this interval of this server now."""
        self._written_bytes += interval.shared_bytes
        self._written_counter += interval.shared_bytes
        self._ever_written_bytes += interval.shared_bytes

    async def refresh(self) -> None:
        """Read the ledger, where other servers write too. Raises LedgerError."""
        month, before = month_began_at(self._zone), self._ever_written_bytes
        total = await self._ledger.ask(lambda ledger: ledger.shared_bytes(since=month))
        total += self._ever_written_bytes - before  # while the question was on its way
        self._written_bytes = max(total, self._written_bytes) if month == self._month else total
        self._month = month
