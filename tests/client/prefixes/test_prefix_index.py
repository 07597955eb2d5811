"""The longest beginning that was kept is found, within its scope, and memory is bounded."""

from __future__ import annotations

import random

from p2pinfer.client.chain.prefill import common_prefix
from p2pinfer.client.prefixes.prefix_index import SHORTEST, PrefixIndex
from p2pinfer.client.prefixes.scope import Scope

MINE = Scope()
TEXT = list(range(1000, 1200))


def test_a_text_finds_what_shares_most_of_it_and_how_much():
    index = PrefixIndex()
    index.add(MINE, [*TEXT[:100], 1])
    index.add(MINE, [*TEXT[:150], 2])
    known = index.longest(MINE, [*TEXT, 3])
    assert known is not None
    assert (known.length, known.tokens) == (150, (*TEXT[:150], 2))
    assert index.longest(MINE, TEXT[:120]).length == 120
    assert index.longest(MINE, [0, *TEXT]) is None


def test_nothing_is_found_for_less_than_a_recall_is_worth():
    index = PrefixIndex()
    index.add(MINE, TEXT)
    index.add(MINE, [5] * (SHORTEST - 1))
    assert len(index) == 1
    assert index.longest(MINE, TEXT[: SHORTEST - 1]) is None
    assert index.longest(MINE, TEXT[:SHORTEST]).length == SHORTEST
    assert index.longest(MINE, []) is None


def test_scopes_are_apart_and_a_salt_is_no_name():
    index = PrefixIndex()
    index.add(Scope("a"), TEXT)
    for other in (MINE, Scope("b"), Scope("a", is_shared=True)):
        assert index.longest(other, TEXT) is None


def test_what_a_longer_text_begins_with_needs_no_entry():
    index = PrefixIndex()
    index.add(MINE, TEXT[:100])
    index.add(MINE, TEXT)
    assert len(index) == 1
    assert index.longest(MINE, TEXT[:100]).tokens == tuple(TEXT)


def test_the_least_recently_used_is_forgotten_first():
    index = PrefixIndex(most_texts=2)
    texts = [[number] * 100 for number in range(3)]
    index.add(MINE, texts[0])
    index.add(MINE, texts[1])
    index.longest(MINE, texts[0])
    index.add(MINE, texts[2])
    assert [index.longest(MINE, text) is not None for text in texts] == [True, False, True]


def test_the_number_of_tokens_is_bounded():
    index = PrefixIndex(most_tokens=250)
    for number in range(10):
        index.add(MINE, [number] * 100)
    assert len(index) == 2


def test_it_finds_what_comparing_all_finds():
    chance = random.Random(1)
    index, texts = PrefixIndex(), []
    for _ in range(60):
        text = [7] * 64 + [chance.randrange(2) for _ in range(chance.randrange(20))]
        texts.append(text)
        index.add(MINE, text)
        wanted = [7] * 64 + [chance.randrange(2) for _ in range(chance.randrange(20))]
        assert index.longest(MINE, wanted).length == max(common_prefix(one, wanted) for one in texts)
