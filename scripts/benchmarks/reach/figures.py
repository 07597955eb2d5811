"""What the measurements of bench_reach say: a line for each pair of homes, and the goals (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any, Self

from scripts.benchmarks.reach.plan import (
    FIRST_TOKEN_GOAL_SECONDS,
    GAP_GOAL_SECONDS,
    PUNCHED_GOAL,
    PUNCHED_GOAL_SECONDS,
    RELAYED,
    RELAYED_GOAL,
    STALL_GOAL_SECONDS,
    Pair,
)
from scripts.benchmarks.shared.report import Goal

PUNCHED = "punched"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One pair of homes."""

    pair: Pair
    error: str | None
    ways: tuple[str | None, ...] = ()  # of the hops, in the last round
    first_ways: tuple[str | None, ...] = ()
    first_token_seconds: float | None = None
    final_way_seconds: float | None = None
    tokens_per_second: float | None = None
    share: float | None = None  # of the open network's rate, in turns with it
    is_identical: bool = True

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Self:
        """Read one measurement of the table."""
        pair = Pair(server=found["server"], client=found["client"])
        rounds, opens = found["rounds"], found["open"]
        if "error" in found or not rounds:
            return cls(pair=pair, error=found.get("error", "no round"))
        rates = [each["tokens_per_second"] for each in rounds]
        shares = [rate / open_["tokens_per_second"] for rate, open_ in zip(rates, opens, strict=True)]
        return cls(
            pair=pair,
            error=None,
            ways=tuple(rounds[-1]["ways"]),
            first_ways=tuple(found["first_ways"]),
            first_token_seconds=found["first_token_seconds"],
            final_way_seconds=found["final_way_seconds"],
            tokens_per_second=median(rates),
            share=median(shares),
            is_identical=all(each["identical"] for each in rounds),
        )

    @property
    def is_relayed(self) -> bool:
        """Whether a relay carries a hop."""
        return RELAYED in self.ways

    @property
    def is_punched(self) -> bool:
        """Whether a hop is reached through holes in routers, and none through a relay."""
        return PUNCHED in self.ways and not self.is_relayed


def in_words(ways: Sequence[str | None]) -> str:
    """`punched 3`, `relayed 1, punched 2`, or `unknown`."""
    counted = Counter(way or "unknown" for way in ways)
    return ", ".join(f"{way} {count}" for way, count in sorted(counted.items())) or "none"


def goals(measured: Mapping[str, Any]) -> Iterator[Goal]:
    """Every goal of which something was measured."""
    lines = [Line.of(found) for found in measured["table"]]
    if lines:
        yield from _table_goals(lines)
    if "move" in measured:
        yield from _move_goals(measured["move"])
    if "relay-killed" in measured:
        yield from _kill_goals(measured["relay-killed"])


def _table_goals(lines: Sequence[Line]) -> Iterator[Goal]:
    working = [line for line in lines if line.error is None and line.is_identical]
    yield Goal(
        what="pairs of homes that generate the same text",
        wanted=str(len(lines)),
        found=str(len(working)),
        is_met=len(working) == len(lines),
    )
    firsts = [line.first_token_seconds for line in working if line.first_token_seconds is not None]
    if firsts:
        yield _most("first token after a client's start, s", firsts, FIRST_TOKEN_GOAL_SECONDS)
    punched = [line for line in working if line.is_punched]
    finals = [line.final_way_seconds for line in punched if line.final_way_seconds is not None]
    if finals:
        yield _most("until all hops are punched, s", finals, PUNCHED_GOAL_SECONDS)
    shares = [line.share for line in punched if line.share is not None]
    if shares:
        yield _least("tokens/s punched, of the open network's", shares, PUNCHED_GOAL)
    shares = [line.share for line in working if line.is_relayed and line.share is not None]
    if shares:
        yield _least("tokens/s relayed, of the open network's", shares, RELAYED_GOAL)


def move_gap(answer: Mapping[str, Any]) -> float | None:
    """The longest gap from a relayed token to the next punched one; None if the session didn't move."""
    gaps = [
        later - former
        for former, later, before, after in zip(
            answer["at"], answer["at"][1:], answer["ways"], answer["ways"][1:], strict=False
        )
        if list(before) != list(after)
    ]
    moved = answer["ways"] and RELAYED in answer["ways"][0] and RELAYED not in answer["ways"][-1]
    return max(gaps) if moved and gaps else None


def _move_goals(move: Mapping[str, Any]) -> Iterator[Goal]:
    failed = "error" in move
    gap = None if failed else move_gap(move)
    yield Goal(
        what="a session moved from a relay to the punched way",
        wanted="yes",
        found="no answer" if failed else "no" if gap is None else "yes",
        is_met=gap is not None,
    )
    if gap is not None:
        yield Goal(what="no token lost", wanted="same", found=_same(move), is_met=move["identical"])
        yield _most("longest gap while it moved, s", [gap], GAP_GOAL_SECONDS)


def _kill_goals(kills: Mapping[str, Any]) -> Iterator[Goal]:
    if "error" in kills:
        yield Goal(what="answers whose relay was killed", wanted="same text", found="none", is_met=False)
        return
    rounds = kills["rounds"]
    same = sum(each["identical"] for each in rounds)
    yield Goal(
        what="answers of the same text, their relay killed",
        wanted=str(len(rounds)),
        found=str(same),
        is_met=same == len(rounds),
    )
    yield _most("longest stall, s", [stall(each) for each in rounds], STALL_GOAL_SECONDS)


def times(answer: Mapping[str, Any]) -> list[float]:
    """When each token came."""
    at: list[float] = answer["at"]
    return at


def stall(killed: Mapping[str, Any]) -> float:
    """The longest gap that ended after the kill, in seconds."""
    killed_at: float = killed["killed_at"]
    return max(later - former for former, later in pairwise(times(killed)) if later > killed_at)


def _same(answer: Mapping[str, Any]) -> str:
    return "same" if answer["identical"] else "different"


def _most(what: str, values: Sequence[float], goal: float) -> Goal:
    worst = max(values)
    return Goal(what=what, wanted=f"<= {goal:g}", found=f"{worst:.2f}", is_met=worst <= goal)


def _least(what: str, values: Sequence[float], goal: float) -> Goal:
    worst = min(values)
    return Goal(what=what, wanted=f">= {goal:g}", found=f"{worst:.2f}", is_met=worst >= goal)
