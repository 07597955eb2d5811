"""What running has cost for a while: energy, computing time, traffic."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from p2pinfer.types import PeerId


class EnergySource(StrEnum):
    """How energy was found out."""

    RAPL = "rapl"  # the processor's own counters, our share of its computing time
    SIGNAL = "signal"  # the owner's meter, by the signal `watts`
    ESTIMATE = "estimate"  # computing time, times what the policy says that a core draws


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """From one look at the meters to the next, of one server in one state."""

    server: PeerId
    started_at: float  # Unix seconds
    ended_at: float
    state: str  # as in states.py
    joules: float  # that the owner would not have used otherwise
    energy_source: EnergySource
    cpu_seconds: float  # of this server and its p2pd
    price: float | None  # of a kWh, in the policy's currency; None: nobody knows
    currency: str
    sent_bytes: int
    received_bytes: int
