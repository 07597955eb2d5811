"""The time zone of this machine, as its C library reads it: $TZ in every form, or else /etc/localtime.

Python's zoneinfo reads names and files only. The C library also reads `CET-1CEST,M3.5.0,M10.5.0/3`, and what
it makes of a name that it doesn't know (UTC) is what `date` and the machine's other clocks show.
"""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import TZPATH

_EPOCH = datetime(1970, 1, 1)
_LARGEST_OFFSET = timedelta(hours=24) - timedelta(seconds=1)
_RULE = re.compile(r"(?:[A-Za-z]{3,}|<[A-Za-z0-9+-]{3,}>)[+-]?\d")
_UTC_NAMES = ("UTC", "GMT", "UCT", "ZULU", "UNIVERSAL", "GREENWICH")


class LocalZone(tzinfo):
    """Local time with its changes to summer time, by PEP 495 where the clock skips hours or repeats them."""

    def fromutc(self, moment: datetime) -> datetime:
        """The local time at `moment`, which has UTC's fields and this zone, as datetime calls it."""
        local = datetime.fromtimestamp(moment.replace(tzinfo=UTC, microsecond=0).timestamp())
        return local.replace(microsecond=moment.microsecond, tzinfo=self)

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        """Local time minus UTC. Python allows less than 24 hours, POSIX up to 25: beyond, it is cut."""
        if moment is None:
            return None
        local = moment.replace(tzinfo=None, microsecond=0)
        offset = local - _EPOCH - timedelta(seconds=local.timestamp())
        return max(-_LARGEST_OFFSET, min(_LARGEST_OFFSET, offset))

    def dst(self, moment: datetime | None) -> timedelta | None:
        """Not known: the C library tells only the sum of both."""
        return None

    def tzname(self, moment: datetime | None) -> str | None:
        """Such as CEST."""
        return None if moment is None else time.localtime(moment.timestamp()).tm_zone


def local_zone() -> LocalZone:
    """The zone of this process. A change of $TZ or /etc/localtime counts from the next start."""
    time.tzset()
    return LocalZone()


def zone_doubt() -> str | None:
    """What an owner should know whose $TZ the C library doesn't understand; None if it does, or may."""
    text = os.environ.get("TZ", "").removeprefix(":")
    if not text or text.upper().startswith(_UTC_NAMES) or _RULE.match(text):
        return None
    if any(os.path.isfile(os.path.join(folder, text)) for folder in (os.environ.get("TZDIR", ""), *TZPATH)):
        return None
    this_year = datetime.now(UTC).year
    if any(datetime(this_year, month, 1).timestamp() % 86_400 for month in range(1, 13)):
        return None
    return f"TZ={text}: this machine knows no such time zone, so hours are taken in UTC"
