"""Grammars of answers that may call tools, token by token, in every format."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
import pytest
from tokenizers import Tokenizer

from p2pinfer.model.grammar.constraint import CompiledGrammar
from p2pinfer.model.grammar.tools.call_grammar import MOST_CALLS, call_grammar
from p2pinfer.model.grammar.tools.call_reader import CallReader
from p2pinfer.model.grammar.tools.events import ArgumentsPiece, CallBegan, TextShown
from p2pinfer.model.grammar.tools.hermes import HERMES
from p2pinfer.model.grammar.tools.layout import CallLayout
from p2pinfer.model.grammar.tools.mistral import MISTRAL, MISTRAL_ARGS
from p2pinfer.model.grammar.tools.tool import ToolChoice, read_tools
from p2pinfer.model.grammar.vocabulary import Vocabulary
from tests.model.grammar.tools.formats import (
    CITY,
    FORMAT_IDS,
    FORMATS,
    TOOLS,
    answer,
    call,
    with_marks,
)
from tests.model.grammar.walks import random_answer

Model = tuple[Tokenizer, Vocabulary]


@pytest.fixture(scope="module")
def models(tokenizer: Tokenizer, vocabulary: Vocabulary) -> dict[bool, Model]:
    """Tokenizers with vocabularies: True has the marks of all formats as special tokens."""
    return {False: (tokenizer, vocabulary), True: with_marks(tokenizer)}


def compiled(model: Model, layout: CallLayout, choice: ToolChoice | None = None) -> CompiledGrammar:
    """The grammar for the tools of these tests."""
    return CompiledGrammar(model[1], call_grammar(layout, read_tools(TOOLS, choice), model[1]))


def fits(model: Model, grammar: CompiledGrammar, text: str) -> bool:
    """Whether a text may be the whole answer."""
    constraint = grammar()
    for token in model[0].encode(text, add_special_tokens=False).ids:
        if not constraint.allowed()[token]:
            return False
        constraint.accept(token)
    return constraint.is_whole


every_format = pytest.mark.parametrize(("layout", "is_special"), FORMATS, ids=FORMAT_IDS)


@every_format
def test_a_model_that_may_choose_writes_text_or_calls(models, layout: CallLayout, is_special: bool):
    """Text that resembles a call of no tool is free."""
    used = models[is_special]
    grammar = compiled(used, layout)

    for text in ("", "Hello.", '{"name": "Bob", "age": 5}', '{"name": "weather"}', "a <tool b [TOOL c <|py"):
        assert fits(used, grammar, text), text
    assert fits(used, grammar, answer(layout, call(layout)))
    if layout.is_marked:
        assert fits(used, grammar, "Let me see.\n" + answer(layout, call(layout)))


@every_format
def test_what_begins_as_a_call_must_go_on_as_one(models, layout: CallLayout, is_special: bool):
    """The parameters are those of the tool, whose name may begin as another's."""
    used = models[is_special]
    grammar = compiled(used, layout)

    assert fits(used, grammar, answer(layout, call(layout, "weather-now", "{}")))
    for wrong in (call(layout, "weather", "{}"), call(layout, "weather-now"), call(layout, "weather", '"x"')):
        assert not fits(used, grammar, answer(layout, wrong))
    if layout.is_marked:
        assert not fits(used, grammar, answer(layout, call(layout, "whether")))


@every_format
def test_a_model_that_must_call_begins_with_the_call(models, layout: CallLayout, is_special: bool):
    used = models[is_special]
    grammar = compiled(used, layout, ToolChoice(must_call=True))

    assert fits(used, grammar, answer(layout, call(layout)))
    for text in ("", "Hello.", "\n" + answer(layout, call(layout)), answer(layout, call(layout)) + "."):
        assert not fits(used, grammar, text)


@every_format
def test_a_named_tool_is_the_only_one(models, layout: CallLayout, is_special: bool):
    used = models[is_special]
    grammar = compiled(used, layout, ToolChoice(must_call=True, only="weather-now"))

    assert fits(used, grammar, answer(layout, call(layout, "weather-now", "{}")))
    assert not fits(used, grammar, answer(layout, call(layout)))


@every_format
def test_several_calls_are_possible_where_format_and_request_allow_it(
    models, layout: CallLayout, is_special: bool
):
    used = models[is_special]
    two = answer(layout, call(layout), call(layout, "weather-now", "{}"))

    assert fits(used, compiled(used, layout), two) is (layout.separator is not None)
    assert not fits(used, compiled(used, layout, ToolChoice(is_parallel=False)), two)


@pytest.mark.parametrize("layout", [HERMES, MISTRAL, MISTRAL_ARGS], ids=lambda layout: layout.name)
def test_the_number_of_calls_is_bounded(models, layout: CallLayout):
    """Small models otherwise go on repeating one."""
    grammar = compiled(models[True], layout)

    for count in (MOST_CALLS, MOST_CALLS + 1):
        calls = answer(layout, *[call(layout, "weather-now", "{}")] * count)
        assert fits(models[True], grammar, calls) is (count == MOST_CALLS)


@every_format
def test_after_a_single_call_the_answer_is_done(models, layout: CallLayout, is_special: bool):
    """The model isn't asked for another token."""
    used = models[is_special]
    constraint = compiled(used, layout, ToolChoice(is_parallel=False))()
    for token in used[0].encode(answer(layout, call(layout)), add_special_tokens=False).ids:
        assert not constraint.is_done
        constraint.accept(token)

    assert constraint.is_done


@every_format
def test_whatever_a_model_prefers_the_reader_finds_valid_calls(
    models, closing: np.ndarray, layout: CallLayout, is_special: bool
):
    """Random scores, forced to call. Nothing but calls is left."""
    used = models[is_special]
    grammar = compiled(used, layout, ToolChoice(must_call=True))
    closing = np.pad(closing, (0, used[1].size - len(closing)))
    reader = CallReader(layout, ["weather", "weather-now"])
    text = random_answer(grammar, used[0], closing, seed=len(layout.name))
    events = reader.feed(text) + reader.finish()
    names = {event.index: event.name for event in events if isinstance(event, CallBegan)}
    arguments = {event.index: event.text for event in events if isinstance(event, ArgumentsPiece)}

    assert not any(isinstance(event, TextShown) for event in events)
    assert len(names) >= 1
    for index, name in names.items():
        value = json.loads(arguments[index])
        jsonschema.validate(value, CITY if name == "weather" else {"const": {}})
