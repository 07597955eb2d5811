"""The time zone that this machine's owner lives in."""

from __future__ import annotations

import os
from datetime import datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

_LOCALTIME = Path("/etc/localtime")


def local_zone() -> tzinfo:
    """As programs find it: $TZ, else /etc/localtime; with its summer time, which a plain offset lacks."""
    name = os.environ.get("TZ", "").removeprefix(":")
    try:
        if name:
            return ZoneInfo(name)
        with _LOCALTIME.open("rb") as file:
            return ZoneInfo.from_file(file, key="localtime")
    except (OSError, ValueError):  # an unknown name, or no such file: as the C library understands it
        zone = datetime.now().astimezone().tzinfo
        assert zone is not None
        return zone
