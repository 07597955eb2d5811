"""Text from tokens, one at a time: the whole is what the tokenizer makes of all of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.sampling.detokenizer import Detokenizer
from p2pinfer.model.text.tokenizer import Tokenizer
from tests.model.text.tiny_tokenizers import byte_level, sentencepiece

KINDS = {
    "byte level": byte_level,
    "sentencepiece": sentencepiece,
    "metaspace": lambda: sentencepiece(metaspace=True),
}


@cache
def tokenizer(kind: str) -> Tokenizer:
    """A tiny tokenizer of a kind."""
    return Tokenizer(KINDS[kind](), frozenset())


@pytest.fixture(scope="module")
def real(smollm2: LayerStore) -> Tokenizer:
    """The small real model's."""
    return Tokenizer.load(smollm2.folder)


def pieces(tokenizer: Tokenizer, ids: list[int], *, show_special: bool = False) -> list[str]:
    """What is shown for each token, and at the end."""
    detokenizer = Detokenizer(tokenizer, show_special=show_special)
    return [*map(detokenizer.add, ids), detokenizer.flush()]


def whole_characters(shown: list[str]) -> bool:
    """No piece is half a character, which would be a lone surrogate or a U+FFFD that isn't meant."""
    return all(piece.encode().decode() == piece for piece in shown)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("show_special", [True, False])
@settings(max_examples=400)
@given(data=st.data())
def test_the_pieces_together_are_the_text_of_all_tokens(kind: str, show_special: bool, data: st.DataObject):
    """Any tokens, unknown ids and broken characters among them."""
    tiny = tokenizer(kind)
    # Runs of byte tokens are as likely as everything else.
    some = st.integers(-1, tiny.vocab_size) | st.sampled_from(
        [token for text in "é你🙂 " for token in byte_tokens(tiny, text)]
    )
    ids = data.draw(st.lists(some, max_size=40))

    assert "".join(pieces(tiny, ids, show_special=show_special)) == tiny.decode(
        ids, skip_special=not show_special
    )


def byte_tokens(tiny: Tokenizer, text: str) -> list[int]:
    """The tokens of a text's bytes, one each."""
    if tiny.is_byte_level:
        return [token for token in range(256) if tiny.token_bytes(token) in map(bytes, zip(text.encode()))]
    return [3 + byte for byte in text.encode()]


@settings(max_examples=300)
@given(ids=st.lists(st.integers(0, 49_151), max_size=40), show_special=st.booleans())
def test_a_real_tokenizer_is_no_exception(real: Tokenizer, ids: list[int], show_special: bool):
    assert "".join(pieces(real, ids, show_special=show_special)) == real.decode(
        ids, skip_special=not show_special
    )


@settings(max_examples=200)
@given(text=st.text(max_size=60))
@pytest.mark.parametrize("kind", KINDS)
def test_real_texts_come_whole_characters_at_a_time(kind: str, text: str):
    """Each piece ends where a character ends, and all together are the text."""
    tiny = tokenizer(kind)
    shown = pieces(tiny, tiny.encode(text, add_special_tokens=False), show_special=True)

    assert whole_characters(shown)
    assert "�" in text or "�" not in "".join(shown)


@pytest.mark.parametrize("kind", KINDS)
def test_a_character_of_several_tokens_is_shown_when_it_is_whole(kind: str):
    """Four bytes, and what comes next."""
    tiny = tokenizer(kind)
    ids = [*tiny.encode("a", add_special_tokens=False), *bytes_in_order(tiny, "🙈"), *last_token(tiny, "b")]
    shown = pieces(tiny, ids)

    assert "".join(shown) == "a🙈b"
    assert shown[-2:] in (["🙈b", ""], ["b", ""])


def bytes_in_order(tiny: Tokenizer, text: str) -> list[int]:
    """One token per byte."""
    if not tiny.is_byte_level:
        return [3 + byte for byte in text.encode()]
    place = {tiny.token_bytes(token): token for token in range(256)}
    return [place[bytes([byte])] for byte in text.encode()]


def last_token(tiny: Tokenizer, text: str) -> list[int]:
    """The token that is written like this."""
    token = tiny.token_id(text)
    assert token is not None
    return [token]


@pytest.mark.parametrize("kind", KINDS)
def test_an_unfinished_character_is_a_replacement_character_at_the_end(kind: str):
    tiny = tokenizer(kind)
    ids = [*last_token(tiny, "a"), *bytes_in_order(tiny, "🙈")[:2]]
    shown = pieces(tiny, ids)

    assert shown[0] == "a" and shown[1:-1] == ["", ""]
    assert "".join(shown) == tiny.decode(ids)
    assert set(shown[-1]) == {"�"}


def test_a_script_that_the_vocabulary_lacks_comes_before_its_run_ends():
    """A run of bytes is held back, but not for ever: nobody waits for a Khmer text without blanks."""
    tiny = tokenizer("sentencepiece")
    text = "ខ្ញុំចង់រៀនភាសាខ្មែរ" * 5
    ids = [*last_token(tiny, "▁a"), *bytes_in_order(tiny, text)]
    detokenizer = Detokenizer(tiny)
    shown = [detokenizer.add(token) for token in ids]

    assert len("".join(shown)) > len(text) - 30
    assert "".join([*shown, detokenizer.flush()]) == "a" + text


@pytest.mark.parametrize("kind", KINDS)
def test_blanks_at_the_start_are_as_in_the_whole_text(kind: str):
    tiny = tokenizer(kind)
    for text in (" ab", "  ab", "ab", " ", "   "):
        ids = tiny.encode(text, add_special_tokens=False)
        assert "".join(pieces(tiny, ids)) == tiny.decode(ids)


def test_special_tokens_are_shown_or_not():
    """They don't break a character in two."""
    tiny = tokenizer("byte level")
    end = last_token(tiny, "<|im_end|>")
    first, second = bytes_in_order(tiny, "é")

    assert "".join(pieces(tiny, [first, *end, second])) == "é"
    assert "".join(pieces(tiny, [*last_token(tiny, "ab"), *end], show_special=True)) == "ab<|im_end|>"


def test_the_last_of_many_tokens_takes_as_long_as_the_first(tmp_path: Path):
    """What is decoded for a token doesn't grow with the answer."""

    class Watched(Tokenizer):
        longest = 0

        def decode(self, ids, skip_special=True):
            Watched.longest = max(Watched.longest, len(ids))
            return super().decode(ids, skip_special)

    tiny = Watched(sentencepiece(), frozenset())
    ids = tiny.encode("ab the 你好🙂é<tool>" * 200, add_special_tokens=False)
    shown = "".join(pieces(tiny, ids))

    assert Watched.longest < 12
    assert shown == tiny.decode(ids)
