"""How many bytes a relay has passed on this month, in a small file that outlives the process."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

from p2pinfer.outside.plain_json import read_json
from p2pinfer.private_files import write_private
from p2pinfer.swarm.reach.relay.passed import PASSED_ON, PassedOn

_SAVE_SECONDS = 60.0  # after a power cut, the bytes of the last minute are forgotten
_MOST_FILE_BYTES = 1024

_logger = logging.getLogger(__name__)


class Month:
    """The count of one relay. Without a `path` it begins at zero with the process."""

    def __init__(
        self,
        path: Path | None,
        *,
        zone: tzinfo | None = None,
        passed: PassedOn = PASSED_ON,
        now: Callable[[tzinfo | None], datetime] = datetime.now,
    ) -> None:
        """`zone` says when a month begins; None: the machine's. A file that can't be read counts as none."""
        self._path = path
        self._zone = zone
        self._passed = passed
        self._now = now
        self._month = self._this_month()
        self._counted_from = passed.total_bytes
        self._before = self._read()  # this month, by former processes
        self._saved_bytes = self._before

    @property
    def relayed_bytes(self) -> int:
        """This month, up to now."""
        if (month := self._this_month()) != self._month:
            self._month, self._before, self._counted_from = month, 0, self._passed.total_bytes
        return self._before + self._passed.total_bytes - self._counted_from

    @property
    def seconds_left(self) -> float:
        """Until the next month begins."""
        now = self._now(self._zone)
        begins = (now.replace(day=1) + timedelta(days=32)).replace(
            day=1, hour=0, minute=0, second=0, microsecond=0
        )
        return begins.timestamp() - now.timestamp()

    async def save_forever(self) -> None:
        """Save the count again and again, and once more when this is cancelled."""
        try:
            while True:
                await asyncio.sleep(_SAVE_SECONDS)
                self.save()
        finally:
            self.save()

    def save(self) -> None:
        """Write the file if there is something new. A disk that fails is logged."""
        count = self.relayed_bytes
        if self._path is None or count == self._saved_bytes:
            return
        data = json.dumps({"month": self._month, "relayed_bytes": count}).encode()
        try:
            write_private(self._path, data, replace=True)
            self._saved_bytes = count
        except OSError as error:
            _logger.warning("what was relayed this month can't be written to %s: %s", self._path, error)

    def _this_month(self) -> str:
        return f"{self._now(self._zone):%Y-%m}"

    def _read(self) -> int:
        if self._path is None:
            return 0
        try:
            with self._path.open("rb") as file:
                said = read_json(file.read(_MOST_FILE_BYTES))
            count = said["relayed_bytes"] if said["month"] == self._month else 0
        except FileNotFoundError:
            return 0
        except (OSError, ValueError, KeyError, TypeError) as error:
            _logger.warning("%s isn't a count of relayed bytes (%r): it begins at zero", self._path, error)
            return 0
        return count if isinstance(count, int) and count > 0 else 0
