"""One time in the swarm, from joining to leaving: what the lifecycle asks of it, and what it reports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from p2pinfer.server.housekeeping.ready_server import ReadyServer
from p2pinfer.server.life.model_choice import ChosenModel
from p2pinfer.server.life.reach_news import ReachNews
from p2pinfer.sharing.give.activity import IDLE, Activity
from p2pinfer.sharing.give.limits import SharingLimits
from p2pinfer.swarm.membership.membership import Remembered
from p2pinfer.swarm.reach.relay.allowance import Allowance


@dataclass(slots=True, kw_only=True)
class ServingPeriod:
    """Shared by the lifecycle and the code that serves. For the event loop."""

    say: Callable[[str], None]  # prints a line for the owner
    drain_seconds: Callable[[], float]  # how long a drain may take at most
    ends_at: Callable[[], float | None]
    """Unix seconds: when `stopping` will be set, where hours or prices tell."""
    explain: Callable[[str], None] = lambda words: None
    """Says why the server has these layers, in the owner's status."""
    sharing_limits: Callable[[], SharingLimits] = SharingLimits
    """How much of the files of its layers the server may give to others now."""
    relay_allowance: Callable[[], Allowance] = Allowance
    """How much the server may pass on between others now."""
    chosen: ChosenModel = field(default_factory=ChosenModel)
    """The model that an earlier period has chosen."""
    remembered: Remembered | None = None
    """The peers and ports of the swarm: from the period before, and at the end for the next one."""
    server: ReadyServer | None = None
    """Set while the server is in the swarm with its layers."""
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by the serving code while the server is announced with its layers."""
    has_served: bool = False
    """True once it was."""
    reach_news: ReachNews = field(default_factory=ReachNews)
    """What the owner has been told of how others reach it."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by the lifecycle: take no new session, let open sessions move, then leave."""
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by the lifecycle: leave now."""

    def activity(self) -> Activity:
        """Whether activations wait here now."""
        return IDLE if self.server is None else self.server.runner.activity
