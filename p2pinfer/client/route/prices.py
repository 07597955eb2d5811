"""What a session's tokens cost at a server. Pure.

All prices are in seconds per token. The rows of a batch step together: a step reads the weights once and
takes each way once, for all its rows. So the more rows are under way, the less a way counts, and the more the
work on each row. Where many sessions are under way (documents), that leaves the work: the route that needs
the least of it lets the most tokens through.
"""

from __future__ import annotations

from dataclasses import dataclass

from p2pinfer.client.route.aim import Aim
from p2pinfer.client.route.candidate import LAST_RESORT_SECONDS
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.types import LayerSeconds

TOKENS_TO_COME = 128
"""How many tokens of a row a new hop is expected to compute: the price of its replay is spread over them."""

_OPENING_SECONDS = 0.1
_ASSUMED_SECONDS_PER_LAYER = 0.001
_ASSUMED_PREFILL = LayerSeconds(first=0.0001)
_MOST_WAITING_SECONDS = 5.0
"""However long a server says its queue is, a doubted one is worse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a session is about to do."""

    history_tokens: int = 0  # in all rows together: a new hop computes them first
    tokens_to_come: int = TOKENS_TO_COME  # in each row
    rows: int = 1
    aim: Aim = Aim.LATENCY

    @property
    def rows_under_way(self) -> int:
        """How many rows share a step and its ways."""
        return self.aim.rows_under_way(self.rows)

    @property
    def step_context_tokens(self) -> float:
        """What is before the tokens of a step to come, on average, in all rows under way together."""
        own = self.history_tokens + self.rows * self.tokens_to_come / 2
        return own * self.rows_under_way / self.rows

    @property
    def way_weight(self) -> float:
        """How much a second on the way costs a token."""
        return 1 / self.rows_under_way


def layer_seconds(step_seconds: float | None, work: Work) -> float:
    """The price of a layer, from what a step of the rows under way takes in it; None: that is unknown."""
    return (step_seconds or _ASSUMED_SECONDS_PER_LAYER) / work.rows_under_way


def replay_seconds(record: Announcement, work: Work, prefill: LayerSeconds | None = None) -> float:
    """The price of opening a session and replaying the history to it.

    `prefill` is what is believed of its speed; None: what it announces.
    """
    line = record.prefill if prefill is None else prefill
    line = line if line.first else _ASSUMED_PREFILL
    tokens = work.history_tokens
    prefill_seconds = tokens * line.after(tokens / 2) * len(record.layers)
    return (_OPENING_SECONDS + prefill_seconds) / (work.rows * work.tokens_to_come)


def stranger_seconds(factor: float, way_seconds: float, own_seconds: float) -> float:
    """The price of not knowing a server: as if its way, and its own work, took `factor` times as long."""
    return (factor - 1) * (way_seconds + own_seconds)


def suspicion_seconds(suspicion: float) -> float:
    """The price of a server that took part in what went wrong.

    A first time costs next to nothing: it decides which of two neighbours is replaced. After a second one it
    is more than any replay.
    """
    return min(LAST_RESORT_SECONDS, suspicion**8)


def waiting_seconds(record: Announcement, queue_depth: int, seconds_per_layer: float) -> float:
    """What a token waits for so many steps: each as long as its own work. No number of rows shortens that."""
    return min(_MOST_WAITING_SECONDS, queue_depth * seconds_per_layer * len(record.layers))
