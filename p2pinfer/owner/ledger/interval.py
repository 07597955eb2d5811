"""What a server used in an interval: energy, computing time, traffic."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from p2pinfer.types import PeerId

JOULES_PER_KWH = 3_600_000


class EnergySource(StrEnum):
    """How the energy was measured."""

    RAPL = "rapl"  # the processor's counters, times our share of the computing time
    SIGNAL = "signal"  # the owner's meter: the signal `watts`
    ESTIMATE = "estimate"  # computing time, times the policy's watts per core


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """The time between two looks at the meters, of one server in one state."""

    server: PeerId
    started_at: float  # Unix seconds
    ended_at: float
    state: str  # as in states.py
    joules: float  # that the owner's machine used because of the server
    energy_source: EnergySource
    cpu_seconds: float  # of this server and its p2pd
    price: float | None  # of a kWh, in the policy's currency; None: unknown
    currency: str
    sent_bytes: int  # of all kinds
    received_bytes: int
    shared_bytes: int = 0  # of the sent ones: files of the model, given to others
