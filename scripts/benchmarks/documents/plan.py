"""The parts of bench_documents, its sizes, contenders and goals, and how llama.cpp is tuned (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

PARTS = {
    "speed": "documents/s through three peers, with and without reuse, beside llama.cpp",
    "home-cable": "documents/s with every host on home-cable, beside what the links and stages allow",
    "kills": "SIGKILLs of the runner and of servers: every document once, with the same text",
    "memory": "the runner's memory, `status` meanwhile, and the start of a long input",
    "interactive": "a chat beside a job, and alone",
}

PEERS = 3
SERVER_CACHE_TOKENS = 262_144
"""Of each server: for all rows of the texts in flight, and for what is kept."""

THREE_PEERS = "three peers"
WITHOUT_REUSE = "three peers, nothing reused"
LLAMA_CPP = "llama.cpp"
LLAMA_CPP_SHARED = "llama.cpp, common prefix shared"

LLAMA_GOAL = 2.0
REUSE_GOAL = 1.5
NETWORK_GOAL = 0.8
MOST_GROWTH = 1.1
"""The most memory at the end of a job, in that at a tenth of it: flat."""

MEMORY_LIMIT_MEGABYTES = 1000.0
STATUS_GOAL_SECONDS = 3.0
START_GOAL_SECONDS = 10.0

ALONE, BESIDE = "alone", "beside a job"
"""When a chat was held."""

NETWORK = "home-cable"
WIRE_DTYPES = ("float32", "int8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is measured."""

    documents: int
    rounds: int
    tuning_documents: int
    """For each setting of llama.cpp that is tried; 0: none is, and the likeliest are taken."""

    network_documents: int
    kill_documents: int
    kills: int
    memory_documents: int
    long_input: int
    """Lines of the input whose start is timed."""

    chats: int


FULL = Sizes(
    documents=1000,
    rounds=3,
    tuning_documents=8,
    network_documents=200,
    kill_documents=300,
    kills=20,
    memory_documents=1000,
    long_input=100_000,
    chats=10,
)
QUICK = Sizes(
    documents=12,
    rounds=1,
    tuning_documents=0,
    network_documents=8,
    kill_documents=12,
    kills=2,
    memory_documents=20,
    long_input=1000,
    chats=2,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaSettings:
    """How llama.cpp batches: the arguments of its contender."""

    sequences: int = 16
    batch_tokens: int = 512
    step_tokens: int = 512
    is_unified: bool = False
    flash: bool = True
    threads: int = 2


Values = Mapping[str, Any]


def llama_trials(cores: int) -> Iterator[list[Values]]:
    """What to try, one choice after the other: the fastest of each list stays, and the next list is tried."""
    yield [{"threads": count} for count in sorted({1, cores // 2, cores} - {0})]
    yield [{"sequences": count} for count in (8, 16, 32)]
    yield [{"batch_tokens": 512, "step_tokens": 512}, {"batch_tokens": 2048, "step_tokens": 512}]
    yield [{"is_unified": False}, {"is_unified": True}]
    yield [{"flash": True}, {"flash": False}]


def numbers(round_number: int, count: int) -> range:
    """The documents of one round. Other rounds have others: what servers have kept is of no use."""
    return range(round_number * count, (round_number + 1) * count)


def turns(round_number: int, contenders: list[str]) -> list[str]:
    """The contenders in the order of one round: each is first, and last, equally often."""
    start = round_number % len(contenders)
    return [*contenders[start:], *contenders[:start]]


def kill_plan(kills: int, documents: int) -> list[tuple[int, bool]]:
    """When to kill, and whom: after so many documents, True for the runner and False for a server.

    Spread evenly over the job, each in its turn.

    >>> kill_plan(2, 90)
    [(30, True), (60, False)]
    """
    return [(documents * (number + 1) // (kills + 1), number % 2 == 0) for number in range(kills)]


def with_documents(sizes: Sizes, documents: int) -> Sizes:
    """So many documents in a round of `speed`, and at most so many in the others."""
    return replace(
        sizes,
        documents=documents,
        network_documents=min(sizes.network_documents, documents),
        kill_documents=min(sizes.kill_documents, documents),
        memory_documents=min(sizes.memory_documents, documents),
    )
