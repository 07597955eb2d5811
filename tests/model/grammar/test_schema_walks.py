"""Whatever a model prefers: what comes of a schema's grammar fits the schema."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import jsonschema
import numpy as np
import pytest
from tokenizers import Tokenizer

from p2pinfer.model.grammar.constraint import CompiledGrammar
from p2pinfer.model.grammar.schemas import ANY_OBJECT, read_schema
from p2pinfer.model.grammar.vocabulary import Vocabulary
from tests.model.grammar.walks import random_answer, random_schema


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


def test_threads_may_write_answers_of_one_grammar_side_by_side(
    vocabulary: Vocabulary, tokenizer: Tokenizer, closing: np.ndarray
):
    """The answers know nothing of each other."""
    grammar = CompiledGrammar(vocabulary, read_schema(random_schema(0), is_strict=True).grammar)
    alone = [random_answer(grammar, tokenizer, closing, seed) for seed in range(3)]
    with ThreadPoolExecutor(3) as pool:
        beside = pool.map(lambda seed: random_answer(grammar, tokenizer, closing, seed), [*range(3)] * 2)

        assert list(beside) == alone * 2
