"""How busy a server is with sessions: these go first."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """A server's sessions at one moment."""

    waiting: bool  # some activation waits to be computed or sent
    seconds_since_step: float  # or another change, of any open session; infinite if none is open


IDLE = Activity(waiting=False, seconds_since_step=math.inf)
"""A server without sessions."""
