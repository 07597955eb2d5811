"""A chat of the same client beside a job in the background, and alone: first token, and gaps behind it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from p2pinfer.client.texts.request import TextRequest
from p2pinfer.client.texts.text_model import TextModel
from p2pinfer.local_swarm.shares import split_layers
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.store import LayerStore
from scripts.benchmarks.contenders.texts import answer_all
from scripts.benchmarks.documents.corpus import ANSWER_TOKENS, Corpus
from scripts.benchmarks.documents.plan import ALONE, BESIDE, PEERS, SERVER_CACHE_TOKENS, Sizes, numbers
from scripts.benchmarks.shared.prompts import QUESTION
from scripts.benchmarks.shared.report import say

_CHAT_TOKENS = 64
_JOB_ROUND = 700  # its documents are asked nowhere else
_JOB_DOCUMENTS = 5000  # far more than are answered meanwhile
_SETTLING_SECONDS = 15.0
"""Until the job has rows wherever servers have room."""


async def measure_interactive(store: LayerStore, corpus: Corpus, sizes: Sizes) -> dict[str, Any]:
    """Chats one after the other, alone and beside the job, in the order in which they were asked."""
    with LocalSwarm() as swarm:
        say("interactive: starting the servers")
        await asyncio.to_thread(
            swarm.start,
            store.folder,
            split_layers(store.manifest.num_layers, PEERS),
            server_arguments=("--max-cache-tokens", str(SERVER_CACHE_TOKENS)),
        )
        async with await TextModel.open(str(store.folder), initial_peers=swarm.initial_peers) as model:
            await _chat(model, 0)
            alone = await _chats(model, range(1, 1 + sizes.chats))
            say("interactive: beside a job")
            documents = numbers(_JOB_ROUND, min(_JOB_DOCUMENTS, 10 * sizes.documents))
            prompts = await asyncio.to_thread(corpus.prompts, documents)
            job = asyncio.create_task(_until_cancelled(model, prompts))
            await asyncio.sleep(min(_SETTLING_SECONDS, sizes.documents))
            running = model.running
            beside = await _chats(model, range(1 + sizes.chats, 1 + 2 * sizes.chats))
            has_ended = job.done()
            job.cancel()
            await asyncio.wait([job])
    return {ALONE: alone, BESIDE: beside, "texts_in_rows": running, "job_ended_early": has_ended}


async def _until_cancelled(model: TextModel, prompts: Sequence[list[int]]) -> None:
    await answer_all(model, prompts, ANSWER_TOKENS)


async def _chats(model: TextModel, chats: range) -> list[dict[str, Any]]:
    return [await _chat(model, number) for number in chats]


async def _chat(model: TextModel, number: int) -> dict[str, Any]:
    """Seconds to the first token of one chat, and between its tokens."""
    prompt = model.chat_tokens([{"role": "user", "content": f"Question {number:03}. {QUESTION}"}])
    request = TextRequest(prompt=prompt, max_tokens=_CHAT_TOKENS, stop_tokens=frozenset())
    began = time.perf_counter()
    times: list[float] = []
    async with model.generate(request) as text:
        async for part in text:
            times += [time.perf_counter()] * len(part.tokens)
    return {
        "first_seconds": times[0] - began,
        "gaps": [later - former for former, later in pairwise(times)],
    }
