"""The contenders of bench_throughput by name, its parts, and the turns of a round (pure)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from scripts.benchmarks.contenders.turns import Turn

LLAMA_CPP = "llama.cpp Q8_0, one process"
BF16 = "transformers bf16, one process"
ONE_PROCESS = "p2pinfer, one process"
THREE_PEERS = "p2pinfer, three peers"
SIX_PEERS = "p2pinfer, six peers"
MEMORY = "reading memory"

PARTS = {
    "stream": "one stream through every contender",
    "batch": "8 and 32 streams at once",
    "prefill": "a prompt of 512 tokens",
    "hop": "where the time of a token goes",
    "large": "a random model of TinyLlama's shape, against memory bandwidth",
    "idle": "what a server with nothing to do costs",
}

STREAM, PREFILL = "1 stream", "prefill"
LARGE_STREAM, LARGE_MEMORY = "large model, 1 stream", "memory"
BATCHES = (8, 32)
PREFILL_TOKENS = 512
PEERS = 3
IDLE_STATES = ("a client's session open", "no client")

_CONTENDERS = {
    "stream": (LLAMA_CPP, BF16, ONE_PROCESS, THREE_PEERS, SIX_PEERS),
    "batch": (LLAMA_CPP, ONE_PROCESS, THREE_PEERS),
    "prefill": (LLAMA_CPP, ONE_PROCESS, THREE_PEERS),
    "hop": (ONE_PROCESS, THREE_PEERS),
    "large": (),  # these parts have a stage of their own
    "idle": (THREE_PEERS,),
}


def batch_task(streams: int) -> str:
    """The name of a task with this number of streams."""
    return f"{streams} streams"


def contenders_of(parts: Collection[str]) -> list[str]:
    """The contenders that the parts need, in the order of their turns."""
    needed = {name for part in parts for name in _CONTENDERS[part]}
    return [name for name in _CONTENDERS["stream"] if name in needed]


def turns_of(
    parts: Collection[str], prompts: Sequence[list[int]], long_prompt: list[int], num_tokens: int
) -> list[Turn]:
    """The turns of one round with the small model; there is one prompt for each stream of the largest batch.

    Contenders of one task follow each other at once, so that compared runs are close in time.
    """
    turns = []
    streaming = contenders_of({"stream", "hop"} & set(parts))
    turns += [_decode(STREAM, name, prompts[:1], num_tokens) for name in streaming]
    if "batch" in parts:
        for streams in BATCHES:
            task = batch_task(streams)
            turns += [_decode(task, name, prompts[:streams], num_tokens) for name in _CONTENDERS["batch"]]
    if "prefill" in parts:
        for name in _CONTENDERS["prefill"]:
            turns.append(
                Turn(task=PREFILL, contender=name, work="prefill", parameters={"prompt": long_prompt})
            )
    return turns


def large_turns(prompt: list[int], num_tokens: int) -> list[Turn]:
    """The turns of one round with the large model."""
    return [
        Turn(task=LARGE_MEMORY, contender=MEMORY, work="read"),
        _decode(LARGE_STREAM, ONE_PROCESS, [prompt], num_tokens),
        Turn(task=LARGE_MEMORY, contender=MEMORY, work="read"),
        _decode(LARGE_STREAM, THREE_PEERS, [prompt], num_tokens),
    ]


def _decode(task: str, contender: str, prompts: Sequence[list[int]], num_tokens: int) -> Turn:
    parameters = {"prompts": list(prompts), "tokens": num_tokens}
    return Turn(task=task, contender=contender, work="decode", parameters=parameters)
