"""Readers that leave, from other tasks, threads, loops and processes, and what they leave behind."""

from __future__ import annotations

import asyncio
import gc

import pytest

from p2pinfer.client.texts.request import TextRequest
from p2pinfer.errors import UsageError
from p2pinfer.model.sampling.options import SamplingOptions
from tests.client.texts.test_text_model import texts_of, whole

ENDLESS = {"sampling": SamplingOptions(temperature=0.0), "stop_tokens": frozenset()}


async def idle(model) -> None:
    async with asyncio.timeout(30):
        while model.running or model.waiting:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_a_task_that_waits_for_the_next_part_ends_when_another_leaves_the_text(remote):
    async with texts_of(remote, rows=1, sessions=1) as model:
        async with model.generate(TextRequest(prompt=[5, 6, 7], **ENDLESS)) as running:
            await anext(running)
            behind = model.generate(TextRequest(prompt=[5, 6, 7], **ENDLESS))
            reader = asyncio.create_task(anext(behind, None))
            await asyncio.sleep(0)
            await behind.aclose()
            async with asyncio.timeout(30):
                assert await reader is None
        assert await anext(running, None) is None
        await idle(model)


async def test_a_text_that_is_dropped_without_a_word_gives_its_row_back(remote):
    async with texts_of(remote, rows=1, sessions=1) as model:
        async for _ in model.generate(TextRequest(prompt=[5, 6, 7], **ENDLESS)):
            break
        gc.collect()
        await idle(model)
        tokens, _, _ = await whole(model, [8, 9], max_tokens=3, **ENDLESS)
        assert len(tokens) == 3


async def test_a_read_that_is_cancelled_loses_no_part(remote):
    async with texts_of(remote) as model:
        expected, _, _ = await whole(model, [5, 6, 7], max_tokens=20, **ENDLESS)
        tokens = []
        async with model.generate(TextRequest(prompt=[5, 6, 7], max_tokens=20, **ENDLESS)) as text:
            while text.end is None:
                try:
                    async with asyncio.timeout(0.0005):
                        part = await anext(text)
                except TimeoutError:
                    continue
                tokens += [one.token for one in part.tokens]
        assert tokens == expected


async def test_another_event_loop_is_refused(remote):
    async with texts_of(remote) as model:

        async def elsewhere() -> None:
            model.generate(TextRequest(prompt=[5]))

        with pytest.raises(UsageError, match="event loop"):
            await asyncio.to_thread(asyncio.run, elsewhere())
