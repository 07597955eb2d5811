"""`TextModel` over a swarm of real server processes, on many documents: as many in flight as it wants."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from p2pinfer.client.batching.row_pool import PoolLimits
from p2pinfer.client.texts.request import TextRequest
from p2pinfer.client.texts.text_model import TextModel
from scripts.benchmarks.contenders.step_times import StepTotals


def load(store: str, initial_peers: list[str]) -> dict[str, Callable[..., Any]]:
    """Nothing is loaded: every answer is the work of a client that joins the swarm for it, and leaves."""
    return {"answer": partial(_answer, store, initial_peers, StepTotals())}


def _answer(store: str, initial_peers: list[str], steps: StepTotals, **parameters: Any) -> dict[str, Any]:
    return asyncio.run(join_and_answer(store, initial_peers, steps, **parameters))


async def join_and_answer(
    store: str,
    initial_peers: Sequence[str],
    steps: StepTotals,
    *,
    prompts: Sequence[list[int]],
    tokens: int,
    limits: dict[str, Any],
    wire_dtype: str = "float32",
) -> dict[str, Any]:
    """Exactly `tokens` greedy tokens for every prompt. The seconds count from when the model is open."""
    async with await TextModel.open(
        store, initial_peers=initial_peers, limits=PoolLimits(**limits), wire_dtype=wire_dtype
    ) as model:
        steps.take()
        cpu, started = time.process_time(), time.perf_counter()
        answers = await answer_all(model, prompts, tokens)
        return {
            "seconds": time.perf_counter() - started,
            "cpu_seconds": time.process_time() - cpu,
            "tokens": [answer["row"] for answer in answers],
            "prompt_tokens": sum(map(len, prompts)),
            "cached_tokens": sum(answer["cached"] for answer in answers),
            "ended": [answer["at"] - started for answer in answers],
            "steps": steps.take(),
        }


async def answer_all(model: TextModel, prompts: Sequence[list[int]], tokens: int) -> list[dict[str, Any]]:
    """The answers in the order of the prompts, all in the background, as many at a time as have room."""

    async def one(prompt: list[int]) -> dict[str, Any]:
        request = TextRequest(
            prompt=prompt,
            max_tokens=tokens,
            stop_tokens=frozenset(),  # no contender stops early
            is_background=True,
        )
        row: list[int] = []
        try:
            async with model.generate(request) as text:
                async for part in text:
                    row += [token.token for token in part.tokens]
        finally:
            model.background_room.release()
        assert text.end is not None
        return {"row": row, "cached": text.end.cached_tokens, "at": time.perf_counter()}

    tasks = []
    async with asyncio.TaskGroup() as group:
        for prompt in prompts:
            await model.background_room.acquire()
            tasks.append(group.create_task(one(prompt)))
    return [task.result() for task in tasks]
