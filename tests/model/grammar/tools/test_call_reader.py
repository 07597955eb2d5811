"""Answers that call tools, taken apart however they are cut into pieces."""

from __future__ import annotations

import random
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.model.grammar.tools.call_reader import CallReader
from p2pinfer.model.grammar.tools.events import ArgumentsPiece, CallBegan, CallEnded, TextShown, ToolEvent
from p2pinfer.model.grammar.tools.hermes import HERMES
from p2pinfer.model.grammar.tools.layout import CallLayout
from p2pinfer.model.grammar.tools.llama3 import LLAMA3
from p2pinfer.model.grammar.tools.mistral import MISTRAL
from tests.model.grammar.tools.formats import LAYOUTS, PARIS, answer, call

NAMES = ["weather", "weather-now", "NAME"]
PARTS = [
    *("<tool_call>", "</tool_call>", "[TOOL_CALLS]", "[ARGS]", "<|python_tag|>", "weather", "NAME", "x", "é"),
    *(
        '{"name": "weather", ',
        '"arguments": ',
        '"parameters": ',
        '"',
        "\\",
        "{",
        "}",
        "[",
        "]",
        ",",
        " ",
        "\n",
    ),
]
"""What stands in calls, and a little more."""

every_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)


def read(layout: CallLayout, *pieces: str) -> list[ToolEvent]:
    """All events; texts and arguments that follow each other are joined."""
    reader = CallReader(layout, NAMES)
    events = [event for piece in pieces for event in reader.feed(piece)] + reader.finish()
    joined: list[ToolEvent] = []
    for (kind, index), group in groupby(events, lambda event: (type(event), getattr(event, "index", None))):
        same = list(group)
        if kind is TextShown:
            joined.append(TextShown("".join(event.text for event in same)))
        elif kind is ArgumentsPiece:
            joined.append(ArgumentsPiece(index, "".join(event.text for event in same)))
        else:
            joined += same
    return joined


def whole(index: int, name: str, arguments: str) -> list[ToolEvent]:
    """The events of one call."""
    return [CallBegan(index, name), ArgumentsPiece(index, arguments), CallEnded(index, is_whole=True)]


@every_layout
@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "Hi <you> and [all]\n",
        '{"name": "Bob", "age": 5}',
        '{"name": "weather"}',
        '{"name": "weather", "arguments": "x", "parameters": []}',
        "<tool_call>",
        "<tool_call>\n{\"name\": \"whether\", \"arguments\": {}}\n</tool_call>",
        "[TOOL_CALLS] and [TOOL_CALLS][",
        "[TOOL_CALLS]whether[ARGS]{}",
        "<|python_tag|>print(5)",
        "<<tool_call>",
    ],
)  # fmt: skip
def test_what_only_resembles_a_call_is_text_and_nothing_of_it_is_lost(layout: CallLayout, text: str):
    assert read(layout, text) == ([TextShown(text)] if text else [])
    assert read(layout, *text) == read(layout, text)


@every_layout
def test_a_call_is_read_and_nothing_around_it_is_shown(layout: CallLayout):
    text = answer(layout, call(layout, "weather"))

    assert read(layout, text) == whole(0, "weather", PARIS)
    assert read(layout, *text) == whole(0, "weather", PARIS)
    assert read(layout, text + "\n") == whole(0, "weather", PARIS)


@every_layout
def test_calls_are_counted_and_a_name_that_begins_as_another_is_told_apart(layout: CallLayout):
    """`NAME` is what the layouts write for a name."""
    if layout.separator is None:
        return
    text = answer(layout, call(layout, "weather-now", "{}"), call(layout), call(layout, "NAME", '{"a": []}'))
    expected = whole(0, "weather-now", "{}") + whole(1, "weather", PARIS) + whole(2, "NAME", '{"a": []}')

    assert read(layout, text) == expected
    assert read(layout, *text) == expected


@pytest.mark.parametrize("layout", [HERMES, MISTRAL], ids=["hermes", "mistral"])
def test_text_before_a_call_is_shown_without_the_blank_line_between(layout: CallLayout):
    text = "Let me see.\n\n" + answer(layout, call(layout))

    assert read(layout, *text) == [TextShown("Let me see."), *whole(0, "weather", PARIS)]


@every_layout
def test_text_after_the_calls_is_shown(layout: CallLayout):
    """Grammars don't allow it, but not every answer has one."""
    assert read(layout, answer(layout, call(layout)) + " Done.")[-1] == TextShown(" Done.")


@every_layout
def test_free_whitespace_between_signs_is_understood(layout: CallLayout):
    """As models write that no grammar holds."""
    text = answer(layout, call(layout))
    for tight, free in (('"name": ', '\n  "name" : '), ('"arguments": ', '"arguments":\n')):
        text = text.replace(tight, free)

    assert read(layout, *text) == whole(0, "weather", PARIS)


def test_arguments_are_handed_on_as_they_come():
    """A client shows them while the model writes."""
    reader = CallReader(HERMES, NAMES)
    reader.feed('<tool_call>\n{"name": "weather", "arguments": ')

    assert reader.feed('{"ci') == [CallBegan(0, "weather"), ArgumentsPiece(0, '{"ci')]
    assert reader.feed('ty": 5') == [ArgumentsPiece(0, 'ty": 5')]
    assert reader.feed("}}\n</to") == [ArgumentsPiece(0, "}"), CallEnded(0, is_whole=True)]


def test_text_is_held_back_no_longer_than_it_may_be_a_mark():
    reader = CallReader(HERMES, NAMES)

    assert reader.feed("Is 3 ") == [TextShown("Is 3")]
    assert reader.feed("<") == []
    assert reader.feed(" 5?") == [TextShown(" < 5?")]


@every_layout
def test_a_call_that_is_cut_within_its_arguments_is_not_whole(layout: CallLayout):
    text = answer(layout, call(layout))
    cut = text[: text.index("Paris")]

    assert read(layout, *cut)[-1] == CallEnded(0, is_whole=False)


@every_layout
def test_a_call_that_is_cut_after_its_arguments_is_whole(layout: CallLayout):
    text = answer(layout, call(layout))
    start = text.index(PARIS) + len(PARIS)

    for end in range(start, len(text)):
        assert read(layout, text[:end]) == whole(0, "weather", PARIS)


@every_layout
def test_of_a_second_call_that_is_cut_before_its_arguments_nothing_is_shown(layout: CallLayout):
    if layout.separator is None:
        return
    text = answer(layout, call(layout), call(layout))

    for end in range(text.index(PARIS) + len(PARIS), text.rindex(PARIS)):
        assert read(layout, text[:end]) == whole(0, "weather", PARIS)


def test_llama_calls_with_the_kind_of_tool_in_front():
    text = '{"type": "function", "name": "weather", "parameters": {}}'

    assert read(LLAMA3, *text) == whole(0, "weather", "{}")
    assert read(LLAMA3, f"<|python_tag|>{text}") == whole(0, "weather", "{}")


@given(
    st.sampled_from(sorted(LAYOUTS)),
    st.lists(st.sampled_from(PARTS), max_size=30),
    st.integers(0, 1 << 30),
)
def test_events_do_not_depend_on_how_the_answer_is_cut(name: str, parts: list[str], seed: int):
    """Neither does any text raise, nor is a call's end missing."""
    text, chance = "".join(parts), random.Random(seed)
    cuts = sorted(chance.sample(range(len(text) + 1), min(len(text), chance.randint(0, 12))))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    events = read(LAYOUTS[name], text)

    assert read(LAYOUTS[name], *pieces) == events
    assert sum(isinstance(event, CallBegan) for event in events) == sum(
        isinstance(event, CallEnded) for event in events
    )
    if not any(isinstance(event, CallBegan) for event in events):
        assert "".join(event.text for event in events) == text
