"""The parts of bench_gateway, its sizes, and what the chats are asked (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

PARTS = {
    "chats": "streams at once: through the gateway, through sessions, in one process",
    "idle": "silent connections: what they cost in memory and in time to a first token",
    "memory": "the most memory that the gateway and the plain client have had",
    "schema": "answers that must fit JSON schemas: how many do, and what it costs",
}

GATEWAY = "gateway"
SESSIONS = "sessions, a thread each"
ONE_PROCESS = "texts in one process"
PLAIN_CLIENT = "plain client"
AFTER_SCHEMAS = "gateway, after answers with schemas"
CONTENDERS = (GATEWAY, SESSIONS, ONE_PROCESS)

GREEDY, SEEDED = "likeliest tokens", "seeded"
TASKS = (GREEDY, SEEDED)
"""How tokens are chosen: the likeliest, or drawn with a seed at temperature 1."""

Json = dict[str, Any]

_SUBJECTS = (
    "how a bicycle stays upright while it is moving",
    "why the sky is blue and the evening sky is red",
    "how bread is made, from the grain to the loaf",
    "what happens inside of a volcano before it erupts",
    "how a sailing boat can travel against the wind",
    "why leaves change their colour in autumn",
    "how a letter travels from one country to another",
    "what a beehive looks like through one year",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is measured."""

    chats: int
    tokens: int
    """The most of one answer."""

    rounds: int
    connections: int
    outputs: int
    """Answers that must fit a schema."""

    probes: int
    """Chats, one after the other, whose first token is timed beside silent connections."""


FULL = Sizes(chats=64, tokens=64, rounds=5, connections=1000, outputs=100, probes=12)
QUICK = Sizes(chats=16, tokens=16, rounds=2, connections=100, outputs=14, probes=3)


def question(number: int) -> str:
    """A question whose answer is long. No two are alike, and they differ early."""
    return f"Question {number:04}. Explain in detail {_SUBJECTS[number % len(_SUBJECTS)]}."


def questions(round_number: int, count: int) -> list[str]:
    """The questions of one round. Other rounds have others: what servers have kept is of no use."""
    return [question(round_number * count + place) for place in range(count)]


def temperature_of(task: str) -> float:
    """The temperature that a task asks for."""
    return 1.0 if task == SEEDED else 0.0


def seed_of(number: int) -> int:
    """The seed of an answer, by its place."""
    return 1000 + number


def chat_request(
    model: str,
    text: str,
    *,
    tokens: int,
    temperature: float,
    seed: int,
    more: Json | None = None,
) -> Json:
    """The body of a streaming chat with one question."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "max_completion_tokens": tokens,
        "temperature": temperature,
        "seed": seed,
        "stream": True,
        "stream_options": {"include_usage": True},
        **(more or {}),
    }


def turns(round_number: int, contenders: Sequence[str]) -> list[str]:
    """The contenders in the order of one round: each is first, and last, equally often."""
    start = round_number % len(contenders)
    return [*contenders[start:], *contenders[:start]]
