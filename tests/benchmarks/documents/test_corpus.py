"""The documents that scripts/bench_documents makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.benchmarks.documents.corpus import (
    INSTRUCTION_TOKENS,
    LEAST_TOKENS,
    MOST_TOKENS,
    Corpus,
    length_of,
    sentences_of,
    shuffled,
)


class Characters:
    """A tokenizer whose tokens are characters."""

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        return [1] * add_special_tokens + list(map(ord, text))

    def decode(self, ids: list[int], /) -> str:
        return "".join(map(chr, ids))


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus.load(Characters())


def test_prompts_have_the_instruction_in_common_and_the_length_of_their_number(corpus: Corpus):
    prompts = corpus.prompts(range(20))
    common = prompts[0][:INSTRUCTION_TOKENS]
    for number, prompt in enumerate(prompts):
        assert prompt[:INSTRUCTION_TOKENS] == common
        assert len(prompt) == INSTRUCTION_TOKENS + length_of(number)
        assert LEAST_TOKENS <= length_of(number) <= MOST_TOKENS


def test_no_two_documents_are_alike_and_each_is_the_same_every_time(corpus: Corpus):
    documents = [tuple(corpus.document(number)) for number in range(50)]
    assert len(set(documents)) == 50
    assert documents == [tuple(corpus.document(number)) for number in range(50)]


def test_documents_differ_after_a_few_tokens(corpus: Corpus):
    one, two = corpus.document(1), corpus.document(2)
    assert one[:40] != two[:40]


def test_texts_are_the_prompts_as_text(corpus: Corpus):
    (text,) = corpus.texts([3])
    assert "Document 000003. " in text


def test_sentences_are_shuffled_until_there_are_enough_words():
    text = shuffled(["one two.", "three."], 1, words=7)
    assert len(text.split()) >= 7
    assert set(sentences_of(text)) == {"one two.", "three."}


def test_every_document_has_words_enough_for_its_length(tmp_path: Path):
    """A word has at least one token, and the longest document has that many words."""
    source = tmp_path / "source"
    source.write_text("A. B c.")
    corpus = Corpus.load(Characters(), source)
    assert len(corpus.document(7)) == length_of(7)
