"""Whatever a model prefers: what comes of a schema's grammar fits the schema."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
import pytest
from tokenizers import Tokenizer

from p2pinfer.model.grammar.constraint import CompiledGrammar
from p2pinfer.model.grammar.schemas import ANY_OBJECT, read_schema
from p2pinfer.model.grammar.vocabulary import Vocabulary
from tests.model.grammar.walks import closing_scores, random_answer, random_schema


@pytest.fixture(scope="module")
def closing(tokenizer: Tokenizer) -> np.ndarray:
    """How much each of SmolLM2's tokens helps to come to an end."""
    return closing_scores(tokenizer, 2)


@pytest.mark.parametrize("seed", range(12))
def test_a_random_answer_fits_its_schema(
    vocabulary: Vocabulary, tokenizer: Tokenizer, closing: np.ndarray, seed: int
):
    """By the judgement of another library, and as strict JSON without NaN."""
    schema = random_schema(seed)
    grammar = CompiledGrammar(vocabulary, read_schema(schema, is_strict=True).grammar)
    answer = random_answer(grammar, tokenizer, closing, seed)

    jsonschema.validate(json.loads(answer), schema, jsonschema.Draft202012Validator)
    answer.encode("utf-8")


@pytest.mark.parametrize("seed", range(3))
def test_any_object_is_an_object(
    vocabulary: Vocabulary, tokenizer: Tokenizer, closing: np.ndarray, seed: int
):
    answer = random_answer(CompiledGrammar(vocabulary, ANY_OBJECT.grammar), tokenizer, closing, seed)

    assert isinstance(json.loads(answer), dict)


def test_one_compiled_grammar_serves_many_answers_that_know_nothing_of_each_other(
    vocabulary: Vocabulary, tokenizer: Tokenizer, closing: np.ndarray
):
    grammar = CompiledGrammar(vocabulary, ANY_OBJECT.grammar)
    alone = [random_answer(CompiledGrammar(vocabulary, ANY_OBJECT.grammar), tokenizer, closing, 7)]

    assert [random_answer(grammar, tokenizer, closing, seed) for seed in (7, 8, 7)][::2] == alone * 2
