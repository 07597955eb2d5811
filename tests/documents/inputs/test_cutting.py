"""Pieces of a long text are the text, fit, and end where a reader would end them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.documents.inputs.cutting import border, cut

BASE_TOKENS = 7


async def as_bytes(text: str) -> int:
    """As many tokens as bytes, and those of the prompt around."""
    return BASE_TOKENS + len(text.encode())


async def as_words(text: str) -> int:
    """A token for each word, and for each blank."""
    return BASE_TOKENS + len(text.split()) + text.count(" ")


async def pieces(text: str, most: int, tokens_with=as_bytes) -> list[str]:
    return [piece async for piece in cut(text, tokens_with=tokens_with, most_tokens=most)]


@given(
    st.text(alphabet=st.sampled_from(list("ab .\n\r\t!?é漢\u0301🙂\u200d\U0001f3fb")), max_size=300),
    st.integers(BASE_TOKENS + 4, 80),
)
async def test_the_pieces_are_the_text_and_each_fits(text: str, most: int):
    found = await pieces(text, most)

    assert "".join(found) == text
    assert all(found)
    assert max([await as_bytes(piece) for piece in found], default=0) <= most


async def test_pieces_are_nearly_as_large_as_they_can_be():
    found = await pieces("word " * 10_000, 1_000, as_words)

    assert min([await as_words(piece) for piece in found[:-1]]) > 600


async def test_a_text_that_fits_is_one_piece():
    assert await pieces("One sentence. Another one.", 100) == ["One sentence. Another one."]
    assert await pieces("", 100) == []


async def test_counting_is_not_done_for_each_character():
    """It takes as long as reading the piece does."""
    counted = 0

    async def counting(text: str) -> int:
        nonlocal counted
        counted += 1
        return await as_bytes(text)

    found = await pieces("A sentence of some words. " * 4_000, 2_000, counting)

    assert counted <= 4 * len(found) + 4


async def test_what_fits_nowhere_is_an_error():
    with pytest.raises(ValueError, match="not even one character"):
        await pieces("text", BASE_TOKENS)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("one two. three\nfour\n\n", "five six. seven\nei"),
        ("one two. three\n", "four five. six"),
        ("one two three. ", "four five"),
        ("one two three?” ", "four five"),
        ("一二三四五。", "六七"),
        ("onetwothree ", "four"),
        ("onetwothree\r\n", "four"),
    ],
)
def test_the_best_border_that_is_near_is_taken(before: str, after: str):
    """Paragraph, line, sentence, word."""
    text = "x" * 40 + before + after

    assert border(text + "rest", 0, len(text)) == 40 + len(before)


def test_a_border_far_away_is_none():
    text = "A first sentence. " + "x" * 100

    assert border(text + "x", 0, len(text)) == len(text)


@pytest.mark.parametrize("sign", ["e\u0301", "👩\u200d💻", "👋\U0001f3fb", "☎\ufe0f", "\r\n"])
def test_no_cut_goes_through_a_character(sign: str):
    for inside in range(1, len(sign)):
        text = "x" * 100 + sign + "y" * 100

        assert border(text, 0, 100 + inside) == 100


def test_a_thousand_accents_on_one_letter_are_cut_somewhere():
    text = "x" * 10 + "\u0301" * 1_000

    assert border(text, 0, 500) == 500
