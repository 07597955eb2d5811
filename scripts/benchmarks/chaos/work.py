"""The tasks of bench_chaos's clients (pure): few prompts, three ways to generate, without end."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from typing import Any

MAX_TOKENS = 256
"""The limit for a prompt and its answer together."""
MIN_TOKENS = 96
"""The least that a prompt and its answer may be limited to: more than the longest prompt has."""

WAYS = ("plain", "batch", "kept")
"""`plain`: one call of generate(). `batch`: generate() with two or three prompts, padded on the left.
`kept`: several calls on a growing text in one inference_session()."""
KEPT_CALLS = 3

TEXTS = (
    "The capital of France is",
    "Once upon a time, in a land far away, there lived a small dragon who",
    "def fibonacci(n):",
    "Water boils at",
    "The three primary colours are red,",
    "Dear Sir or Madam,\n\nI am writing to",
    "1, 2, 3, 4,",
    "Q: Why is the sky blue?\nA:",
    "A car drove off in the middle of a sentence, and the others went on as if nothing had happened. "
    "The passengers, who had been talking about the weather, looked out of the windows and saw that",
    "To bake a loaf of bread you need flour, water, salt and yeast. First",
    "In a chain of computers each holds some layers of a model. A token travels through all of them, from "
    "the first to the last, and comes back as a list of scores, one for every word that could be next. If "
    "one of the computers leaves, another one takes its place: it is given the history of the conversation, "
    "computes what the one before it had computed, and goes on from there. The reader of the text notices",
    "Monday, Tuesday, Wednesday,",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One generation: which prompts, in which way, and how many tokens the longest sequence ends with."""

    way: str
    prompts: list[int]
    tokens: int

    def as_json(self) -> dict[str, Any]:
        """The task as the client's process reads it."""
        return asdict(self)


def tasks_of(client: int, seed: int, *, count: int, max_tokens: int = MAX_TOKENS) -> list[Task]:
    """The tasks of one client; every way occurs once in three tasks. `max_tokens` is at least MIN_TOKENS."""
    chance = random.Random(f"{seed} {client}")
    tasks: list[Task] = []
    while len(tasks) < count:
        for way in chance.sample(WAYS, len(WAYS)):
            prompts = chance.sample(range(len(TEXTS)), chance.choice((2, 3)) if way == "batch" else 1)
            tasks.append(Task(way=way, prompts=prompts, tokens=chance.randint(MIN_TOKENS, max_tokens)))
    return tasks[:count]
