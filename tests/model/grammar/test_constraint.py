"""The state of one answer: what it allows, what it takes, and what it says when it can't go on."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer

from p2pinfer.errors import GrammarError, UsageError
from p2pinfer.model.grammar.constraint import CompiledGrammar, Grammar, GrammarConstraint, first_line
from p2pinfer.model.grammar.plain import choice_grammar, regex_grammar
from p2pinfer.model.grammar.schemas import read_schema
from p2pinfer.model.grammar.vocabulary import Vocabulary

END = 2
AGE = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


def age(vocabulary: Vocabulary) -> GrammarConstraint:
    """An answer with a number in it."""
    return CompiledGrammar(vocabulary, read_schema(AGE, is_strict=True).grammar)()


def test_a_token_that_is_not_allowed_is_a_fault_of_ours(vocabulary: Vocabulary, tokenizer: Tokenizer):
    constraint = age(vocabulary)

    with pytest.raises(GrammarError, match="the state of the JSON schema is broken"):
        constraint.accept(tokenizer.encode("age").ids[0])
    with pytest.raises(GrammarError):
        constraint.allowed()
    assert not constraint.is_done


@pytest.mark.parametrize("token", [-1, 49152, 1 << 40])
def test_a_token_that_does_not_exist_is_a_fault_of_ours(vocabulary: Vocabulary, token: int):
    with pytest.raises(GrammarError, match="no token"):
        age(vocabulary).accept(token)


def test_the_end_is_not_allowed_in_the_middle(vocabulary: Vocabulary, tokenizer: Tokenizer):
    constraint = age(vocabulary)
    for token in tokenizer.encode('{"age": 4').ids:
        assert constraint.allowed()[token]
        assert not constraint.allowed()[END]
        constraint.accept(token)

    with pytest.raises(GrammarError):
        constraint.accept(END)


def test_after_the_last_brace_nothing_follows_but_the_end(vocabulary: Vocabulary, tokenizer: Tokenizer):
    """So that whoever asks needs no further token of the model."""
    constraint = age(vocabulary)
    for token in tokenizer.encode('{"age": 42}').ids:
        assert not constraint.is_done
        constraint.accept(token)

    assert constraint.is_done
    assert constraint.is_whole
    assert np.flatnonzero(constraint.allowed()).tolist() == [END]
    constraint.accept(END)
    constraint.accept(END)
    assert constraint.is_done
    with pytest.raises(GrammarError, match="has ended"):
        constraint.accept(5)


def test_what_may_end_and_may_go_on_allows_both(vocabulary: Vocabulary, tokenizer: Tokenizer):
    constraint = CompiledGrammar(vocabulary, regex_grammar("[0-9]+"))()
    (digit,) = tokenizer.encode("7").ids
    constraint.accept(digit)

    assert constraint.is_whole
    assert not constraint.is_done
    assert constraint.allowed()[[digit, END]].all()
    constraint.accept(END)
    assert constraint.is_done


def test_a_mask_stays_as_it_is_while_the_state_goes_on(vocabulary: Vocabulary, tokenizer: Tokenizer):
    constraint = age(vocabulary)
    mask = constraint.allowed()
    before = mask.copy()
    constraint.accept(tokenizer.encode('{"').ids[0])
    constraint.allowed()

    np.testing.assert_array_equal(mask, before)


def test_a_pattern_that_needs_too_much_is_the_users_fault(vocabulary: Vocabulary):
    """It is found while the answer is written: the automaton grows with the text."""
    schema = read_schema({"type": "string", "pattern": ".*a.{200}b.{200}"}, is_strict=True)
    constraint = CompiledGrammar(vocabulary, schema.grammar)()

    with pytest.raises(UsageError, match="the JSON schema needs too much computing: simplify it"):
        write_at_random(constraint, 500)


def write_at_random(constraint: GrammarConstraint, tokens: int) -> None:
    """Take so many allowed tokens."""
    noise = np.random.default_rng(0)
    for _ in range(tokens):
        constraint.accept(int(noise.choice(np.flatnonzero(constraint.allowed()))))


@pytest.mark.parametrize("text", ["start: missing", "start: /(/", "nothing", "", 'start: %json {"type": 5}'])
def test_a_grammar_that_makes_no_sense_is_refused_in_one_line(vocabulary: Vocabulary, text: str):
    with pytest.raises(UsageError, match=r"^my grammar can't be used: .+") as caught:
        CompiledGrammar(vocabulary, Grammar(text=text, name="my grammar"))
    assert "\n" not in str(caught.value)


def test_messages_of_llguidance_lose_their_pictures():
    assert first_line("regex parse error:\n    (\n    ^\nerror: unclosed group") == "unclosed group"
    assert first_line("too many states\n<non-verbose/>") == "too many states"
    assert first_line("") == "no reason"


@pytest.mark.parametrize("texts", [[], [""], ["a", ""], ["x" * 20_000]])
def test_a_choice_of_nothing_is_refused(texts: list[str]):
    with pytest.raises(UsageError):
        choice_grammar(texts)


def test_a_regular_expression_that_is_too_long_is_refused():
    with pytest.raises(UsageError, match="longer than"):
        regex_grammar("a" * 20_000)


@pytest.mark.parametrize("text", ["a b", "x\ny", "é(", "a|b", "/\\", "#&~-."])
def test_a_choice_takes_texts_literally(vocabulary: Vocabulary, tokenizer: Tokenizer, text: str):
    constraint = CompiledGrammar(vocabulary, choice_grammar([text, "other"]))()
    for token in tokenizer.encode(text).ids:
        constraint.accept(token)

    assert constraint.is_done
