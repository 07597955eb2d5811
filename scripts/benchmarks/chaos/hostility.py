"""What hostile servers got of the steps in bench_chaos, and what they cost (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scripts.benchmarks.chaos.figures import Goal, gaps_of, percentile

Event = Mapping[str, Any]

SHARE_GOAL = 2.0
PAUSE_GOAL_SECONDS = 3.0
LEARNING_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostility:
    """Percent of steps that went through a hostile server, and the longest pause of each call in seconds."""

    hostile: int
    first_minute_percent: float | None
    later_percent: float | None
    pauses: Sequence[float]

    @classmethod
    def of(cls, measured: Mapping[str, Any]) -> Hostility:
        """Read it from what bench_chaos recorded."""
        peers = {one["peer_id"] for one in measured.get("hostile", ())}
        until = measured.get("began", 0.0) + LEARNING_SECONDS
        steps = [step for events in measured["clients"] for step in steps_of(events, peers)]
        return cls(
            hostile=len(peers),
            first_minute_percent=_percent([through for at, through in steps if at < until]),
            later_percent=_percent([through for at, through in steps if at >= until]),
            pauses=[
                max(gap.excess for gap in gaps) for events in measured["clients"] for gaps in _calls(events)
            ],
        )

    def goals(self) -> Iterator[Goal]:
        """What is promised, if some servers are hostile."""
        if not self.hostile:
            return
        yield Goal(
            what="steps through hostile servers, after the first minute",
            limit=SHARE_GOAL,
            unit=" %",
            found=self.later_percent,
        )
        yield Goal(
            what="longest pause of a call, p99",
            limit=PAUSE_GOAL_SECONDS,
            unit=" s",
            found=percentile(self.pauses, 0.99) if self.pauses else None,
        )

    def as_json(self) -> dict[str, Any]:
        """The figures for a file."""
        return {
            "servers": self.hostile,
            "first_minute_percent": self.first_minute_percent,
            "later_percent": self.later_percent,
            "pause_p99_seconds": percentile(self.pauses, 0.99) if self.pauses else None,
        }


def steps_of(events: Sequence[Event], hostile: set[str]) -> Iterator[tuple[float, bool]]:
    """When each token came, and whether its route had a hostile server."""
    through = False
    for event in events:
        if event["what"] == "hops":
            through = not hostile.isdisjoint(event["peers"])
        elif event["what"] == "token":
            yield event["at"], through


def _calls(events: Sequence[Event]) -> Iterator[list[Any]]:
    """The gaps of each call. What is usual before a first token is the client's own median."""
    (gaps,) = gaps_of([events])
    call: list[Any] = []
    for gap in gaps:
        if gap.first and call:
            yield call
            call = []
        call.append(gap)
    if call:
        yield call


def _percent(through: Sequence[bool]) -> float | None:
    return 100 * sum(through) / len(through) if through else None
