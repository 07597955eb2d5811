"""How long a client waits before it gives up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Limits in seconds."""

    route: float = 60.0
    """Until servers for all layers are found, at the start and after a failure."""
    route_hint: str = ""
    """For people whose patience has ended: what sets `route`. Empty where they can't set it."""
    step: float = 30.0
    """For one step at a hop that says it is working. A hop that doesn't answer is replaced much sooner."""
