"""What servers keep of texts with a real engine: who finds it, and that nothing else changes."""

from __future__ import annotations

import pytest

from p2pinfer.client.texts.text_model import TextModel
from tests.client.texts.test_text_model import GREEDY, texts_of, whole

STEM = [5 + index * 7 % 80 for index in range(100)]


async def texts(model: TextModel, **options) -> tuple[list[int], int]:
    tokens, _, end = await whole(model, [*STEM, 9], max_tokens=12, sampling=GREEDY, **options)
    return tokens, end.cached_tokens


@pytest.mark.parametrize(
    ("first", "second", "cached"),
    [
        ({}, {}, 100),
        ({"cache_scope": "anna"}, {"cache_scope": "anna"}, 100),
        ({"cache_scope": "anna"}, {"cache_scope": "bert"}, 0),
        (
            {"cache_scope": "carl", "cache_salt": "a salt"},
            {"cache_scope": "dora", "cache_salt": "a salt"},
            100,
        ),
        ({"cache_salt": "one salt"}, {"cache_salt": "another"}, 0),
        ({"cache_salt": "emil"}, {"cache_scope": "emil"}, 0),
    ],
)
async def test_a_later_model_finds_what_was_kept_in_its_scope(remote, first, second, cached):
    """It knows of nothing: only the names tell."""
    found = []
    for options in (first, second):
        async with texts_of(remote, shortest_row=256) as model:
            found.append(await texts(model, shared_prefix_tokens=100, **options))
    assert found[0][0] == found[1][0]
    assert found[1][1] == cached


async def test_without_reuse_nothing_is_cached_and_the_text_is_the_same(remote):
    async with texts_of(remote, shortest_row=256) as model:
        reusing = [await texts(model) for _ in range(2)]
    async with texts_of(remote, shortest_row=256, reuse_prefixes=False) as model:
        computed = [await texts(model) for _ in range(2)]
    assert {tuple(tokens) for tokens, _ in reusing + computed} == {tuple(reusing[0][0])}
    assert [cached for _, cached in computed] == [0, 0]
    assert reusing[1][1] == 100
