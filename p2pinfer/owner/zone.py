"""The time zone of this machine."""

from __future__ import annotations

import os
from datetime import datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

_LOCALTIME = Path("/etc/localtime")


def local_zone() -> tzinfo:
    """$TZ, or else /etc/localtime, with their changes to summer time, which a fixed offset lacks."""
    name = os.environ.get("TZ", "").removeprefix(":")
    try:
        if name:
            return ZoneInfo(name)
        with _LOCALTIME.open("rb") as file:
            return ZoneInfo.from_file(file, key="localtime")
    except (OSError, ValueError):  # an unknown name, or no such file: take the C library's answer
        zone = datetime.now().astimezone().tzinfo
        assert zone is not None
        return zone
