"""Policies and readings: any that there can be, and how to ask for a verdict."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from p2pinfer.owner.policy.policy import Policy
from p2pinfer.owner.policy.verdict import Verdict, decide
from p2pinfer.owner.signals.readings import Reading, Readings, Signal, Value

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 3, 28, 23, 30, tzinfo=BERLIN).timestamp()  # a Saturday; summer time begins that night


def known(now: float = NOW, **values: Value) -> Readings:
    return {Signal(name): Reading(value=value, at=now) for name, value in values.items()}


def verdict_of(
    policy: Policy, readings: Readings | None = None, *, now: float = NOW, running: bool = True
) -> Verdict:
    return decide(policy, readings or {}, now=now, zone=BERLIN, running=running)
