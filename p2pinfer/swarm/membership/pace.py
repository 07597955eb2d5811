"""How often a member looks around, greets others and tries again. Tests use a faster pace."""

from __future__ import annotations

from dataclasses import dataclass, field

from p2pinfer.backoff import Backoff
from p2pinfer.swarm.kademlia.node import RequestTimes
from p2pinfer.swarm.membership.acquaintances import GreetingTimes

MEETINGS = Backoff(first_seconds=1.0, most_seconds=4.0)
RESTARTS = Backoff(first_seconds=0.5, most_seconds=30.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The times of one membership."""

    look_seconds: float = 5.0  # between two looks at the connected peers
    answer_seconds: float = 5.0  # for p2pd to answer a question that needs no network
    stop_seconds: float = 3.0  # for p2pd to end after SIGTERM; then it is killed
    most_silent_looks: int = 4  # then p2pd hangs: it has been silent for half a minute
    meetings: Backoff = MEETINGS  # tries to meet an initial peer: one that dozens ask at once may be busy
    most_meetings: int = 3
    restarts: Backoff = RESTARTS  # of p2pd
    steady_seconds: float = 60.0  # a p2pd that ran this long doesn't count as a failed start
    starts_at_old_ports: int = 6  # some 16 s; then another program has the ports: take any port
    greetings: GreetingTimes = field(default_factory=GreetingTimes)
    requests: RequestTimes = field(default_factory=RequestTimes)
