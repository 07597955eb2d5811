"""`TextModel` over a swarm of real server processes, on many documents: so many texts in flight."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from p2pinfer.client.batching.row_pool import PoolLimits
from p2pinfer.client.texts.request import TextRequest
from p2pinfer.client.texts.text_model import TextModel
from scripts.benchmarks.contenders.step_times import StepTotals


def load(store: str, initial_peers: list[str], limits: dict[str, Any]) -> dict[str, Callable[..., Any]]:
    """Join the swarm as a client; `limits` are those of PoolLimits."""
    steps = StepTotals()
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="texts", daemon=True).start()

    async def open_model() -> TextModel:
        return await TextModel.open(store, initial_peers=initial_peers, limits=PoolLimits(**limits))

    model = asyncio.run_coroutine_threadsafe(open_model(), loop).result()

    def answer_documents(**parameters: Any) -> dict[str, Any]:
        steps.take()
        answered = asyncio.run_coroutine_threadsafe(answer(model, **parameters), loop).result()
        return answered | {"steps": steps.take()}

    return {"answer": answer_documents}


async def answer(
    model: TextModel, prompts: Sequence[list[int]], tokens: int, in_flight: int
) -> dict[str, Any]:
    """Exactly `tokens` greedy tokens for every prompt; at most `in_flight` texts at a time, in order."""
    room = asyncio.Semaphore(in_flight)
    cpu, started = time.process_time(), time.perf_counter()

    async def one(prompt: list[int]) -> dict[str, Any]:
        request = TextRequest(
            prompt=prompt,
            max_tokens=tokens,
            stop_tokens=frozenset(),  # no contender stops early
            is_background=True,
        )
        async with room:
            row: list[int] = []
            began = time.perf_counter()
            async with model.generate(request) as text:
                async for part in text:
                    row += [token.token for token in part.tokens]
            assert text.end is not None
            return {
                "row": row,
                "cached": text.end.cached_tokens,
                "began": began - started,
                "ended": time.perf_counter() - started,
            }

    async with asyncio.TaskGroup() as tasks:
        answers = [tasks.create_task(one(prompt)) for prompt in prompts]
    done = [task.result() for task in answers]
    return {
        "tokens": [one["row"] for one in done],
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
        "prompt_tokens": sum(map(len, prompts)),
        "cached_tokens": sum(one["cached"] for one in done),
        "ended": [one["ended"] for one in done],
    }
