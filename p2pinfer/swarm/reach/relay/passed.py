"""How many bytes this process has passed on between others, as a relay."""

from __future__ import annotations

import time


class PassedOn:
    """A counter, with a part for the day that it is here. For the event loop."""

    def __init__(self) -> None:
        self.total_bytes = 0
        self._before_today = 0
        self._day = ""

    def count(self, number: int) -> None:
        """Add `number` bytes. Each was received once and sent once."""
        self._turn_page()
        self.total_bytes += number

    @property
    def today_bytes(self) -> int:
        """Since midnight, by this machine's clock."""
        self._turn_page()
        return self.total_bytes - self._before_today

    def _turn_page(self) -> None:
        day = time.strftime("%Y-%m-%d")
        if day != self._day:
            self._day, self._before_today = day, self.total_bytes


PASSED_ON = PassedOn()
"""Of all relays of this process."""
