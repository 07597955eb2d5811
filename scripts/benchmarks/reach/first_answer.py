"""A client's first answer, and the time until its way is the final one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from scripts.benchmarks.reach.plan import FIRST_TOKENS, PATIENCE_SECONDS, is_final
from scripts.benchmarks.reach.visitor import Answer, Visitor


def first_answer(visitor: Visitor, prompt: Sequence[int]) -> dict[str, Any]:
    """Answer until no better way is to be expected.

    `first_token_seconds` and `final_way_seconds` count from the start of the client's process; the latter is
    None if a relay is still used at the end of all patience, or if nobody knows the ways.
    """
    answers: list[Answer] = []
    while True:
        answers.append(visitor.answer(prompt, FIRST_TOKENS))
        ways = answers[-1].ways[-1]
        if is_final(ways) or None in ways or time.monotonic() > visitor.started_at + PATIENCE_SECONDS:
            break
    final_at = final_since(answers)
    return {
        "first_token_seconds": answers[0].at[0] - visitor.started_at,
        "final_way_seconds": None if final_at is None else final_at - visitor.started_at,
        "first_ways": answers[0].ways[0],
        "first_gap": max(gap for one in answers for gap in one.gaps),
    }


def final_since(answers: Sequence[Answer]) -> float | None:
    """The time from which on no token came through a relay; None if the last one did."""
    since: float | None = None
    for answer in answers:
        for at, ways in zip(answer.at, answer.ways, strict=True):
            if not is_final(ways):
                since = None
            elif since is None:
                since = at
    return since
