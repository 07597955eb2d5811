"""Kills the relay that carries an answer, while it does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from scripts.benchmarks.reach.members import Members
from scripts.benchmarks.reach.plan import KILL_AFTER, KILL_TOKENS, MENDED_SECONDS
from scripts.benchmarks.reach.visitor import Answer, Visitor
from scripts.benchmarks.shared.report import say
from scripts.lab import WanLab


def measure_kills(
    lab: WanLab, members: Members, visitor: Visitor, prompt: Sequence[int], kills: int
) -> list[tuple[dict[str, Any], Answer]]:
    """For every kill: which relay died, when, and the answer. The relay is back before the next one.

    Raises NoAnswerError, and SwarmError if a relay doesn't start again.
    """
    found: list[tuple[dict[str, Any], Answer]] = []
    for number in range(kills):
        say(f"  kill {number + 1} of {kills}")
        killed: dict[str, Any] = {}
        before = _sent(lab, members.relays)

        def kill_the_busiest(
            tokens: int, killed: dict[str, Any] = killed, before: dict[str, int] = before
        ) -> None:
            if tokens == KILL_AFTER:
                now = _sent(lab, members.relays)
                busiest = max(now, key=lambda name: now[name] - before[name])
                killed |= {"relay": busiest, "carried_bytes": now[busiest] - before[busiest]}
                killed["killed_at"] = time.monotonic()
                members.kill(busiest)

        answer = visitor.answer(prompt, KILL_TOKENS, meanwhile=kill_the_busiest)
        lab.check()
        found.append((killed, answer))
        members.open_door(killed["relay"])
        time.sleep(MENDED_SECONDS)
    return found


def _sent(lab: WanLab, names: Sequence[str]) -> dict[str, int]:
    counters = lab.counters()
    return {name: counters[name].up.bytes for name in names}
