"""Texts of many requests at once, through the same swarm as transformers' own head."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
import torch

from p2pinfer.client.batching.row_pool import PoolLimits
from p2pinfer.client.texts.request import TextEnd, TextRequest
from p2pinfer.client.texts.text_model import TextModel
from p2pinfer.errors import PromptTooLongError, UsageError
from p2pinfer.model.sampling.options import SamplingOptions
from tests.client.texts.conftest import small_tokenizer

GREEDY = SamplingOptions(temperature=0.0)
PROMPTS = ["Hello", "What is", "a", "Dear Sir, on the", "1, 2, 3", "the end"]


@asynccontextmanager
async def texts_of(remote, **limits):
    """A model for texts on a remote model that stays open."""
    model = TextModel(remote, PoolLimits(**{"rows": 4, "shortest_row": 64, "answer_tokens": 16} | limits))
    try:
        yield model
    finally:
        model.end_texts()


async def whole(model: TextModel, prompt: str | list[int], **options) -> tuple[list[int], str, TextEnd]:
    ids = model.tokenizer.encode(prompt) if isinstance(prompt, str) else prompt
    async with asyncio.timeout(20), model.generate(TextRequest(prompt=ids, **options)) as text:
        parts = [part async for part in text]
    assert text.end is not None
    return (
        [one.token for part in parts for one in part.tokens],
        "".join(part.text for part in parts),
        text.end,
    )


async def test_texts_are_those_of_generate_however_many_share_the_sessions(generating, remote):
    def transformers(prompt: str) -> list[int]:
        ids = torch.tensor([small_tokenizer().encode(prompt).ids])
        with torch.no_grad():
            return generating.generate(ids, max_new_tokens=20, do_sample=False)[0, ids.shape[1] :].tolist()

    expected = [await asyncio.to_thread(transformers, prompt) for prompt in PROMPTS]
    async with texts_of(remote) as model:
        texts = [whole(model, prompt, max_tokens=20, sampling=GREEDY) for prompt in PROMPTS * 2]
        for (tokens, shown, end), whole_text in zip(await asyncio.gather(*texts), expected * 2, strict=True):
            ends = [token for token in whole_text if token == 2]
            assert tokens == [token for token in whole_text if token != 2]
            assert end.reason == ("stop" if ends else "length")
            assert shown == model.tokenizer.decode(tokens)


async def test_a_seed_decides_the_text_whoever_its_neighbours_are(remote):
    drawn = SamplingOptions(seed=5, top_p=0.95)
    async with texts_of(remote) as model:
        alone = await whole(model, "Hello", max_tokens=24, sampling=drawn)
        crowd = [
            whole(model, "Hello", max_tokens=24, sampling=SamplingOptions(seed=seed)) for seed in range(6)
        ]
        among, *others = await asyncio.gather(whole(model, "Hello", max_tokens=24, sampling=drawn), *crowd)
        assert among[:2] == alone[:2]
        assert len({text for _, text, _ in others}) > 1


async def test_a_chat_goes_on_where_its_last_answer_ended(remote):
    async with texts_of(remote) as model:
        messages = [{"role": "user", "content": "Hi there, tell a long story"}]
        prompt = model.chat_tokens(messages)
        assert model.tokenizer.decode(prompt, skip_special=False).endswith("[assistant]")
        tokens, _, end = await whole(model, prompt, max_tokens=8, sampling=GREEDY)
        assert (end.prompt_tokens, end.cached_tokens, end.completion_tokens) == (len(prompt), 0, len(tokens))

        _, _, second = await whole(model, [*prompt, *tokens, 5, 6, 7], max_tokens=8, sampling=GREEDY)
        assert second.cached_tokens == len(prompt) + len(tokens) - 1


async def test_what_cant_be_asked_is_refused_at_once(remote):
    async with texts_of(remote) as model:
        for prompt in ([], [-1], [10**9], [1, model.manifest.vocab_size]):
            with pytest.raises(UsageError):
                model.generate(TextRequest(prompt=prompt))
        with pytest.raises(UsageError, match="max_tokens"):
            model.generate(TextRequest(prompt=[1], max_tokens=0))
        with pytest.raises(PromptTooLongError, match="takes at most 256"):
            model.generate(TextRequest(prompt=[1] * 257))
        assert (model.waiting, model.running) == (0, 0)


async def test_an_answer_ends_where_the_context_ends(remote):
    async with texts_of(remote) as model:
        tokens, _, end = await whole(model, [3] * 250, sampling=GREEDY, stop_tokens=frozenset())
        assert (len(tokens), end.reason) == (7, "length")  # the last token needs no room itself
        tokens, _, end = await whole(model, [3, 4], sampling=GREEDY, stop_tokens=frozenset())
        assert (len(tokens), end.reason) == (255, "length")


async def test_who_leaves_a_text_frees_its_row_at_once(remote):
    async with texts_of(remote, rows=1, sessions=1) as model:
        endless = TextRequest(prompt=[1, 2], sampling=GREEDY, stop_tokens=frozenset())
        async with model.generate(endless) as text:
            await anext(text)
            behind = asyncio.create_task(whole(model, [4, 5], max_tokens=3, sampling=GREEDY))
            await asyncio.sleep(0)
            assert model.waiting == 1
        assert len((await behind)[0]) <= 3


async def test_a_reader_that_is_slow_gets_what_has_come_meanwhile_as_one_part(remote):
    async with texts_of(remote) as model:
        request = TextRequest(prompt=[1, 2], max_tokens=30, sampling=GREEDY, stop_tokens=frozenset())
        async with asyncio.timeout(20), model.generate(request) as text:
            first = await anext(text)
            while text.new_tokens < 29:  # noqa: ASYNC110  nothing is read, and so nothing tells
                await asyncio.sleep(0.005)
            rest = [part async for part in text]
            assert len(first.tokens) + sum(len(part.tokens) for part in rest) == 30
            assert len(rest) <= 2
            assert [hop.layers.start for hop in text.route().hops] == [0, 2]


async def test_after_the_end_every_text_says_that_the_model_was_closed(remote):
    async with texts_of(remote) as model:
        request = TextRequest(prompt=[1, 2], sampling=GREEDY, stop_tokens=frozenset(), max_tokens=200)
        async with asyncio.timeout(20), model.generate(request) as text:
            await anext(text)
            model.end_texts()
            with pytest.raises(UsageError, match="closed"):
                async for _ in text:
                    pass
        with pytest.raises(UsageError, match="closed"):
            model.generate(request)
