"""Which format a chat template writes, and what stands in for a template that knows none."""

from __future__ import annotations

import json

import pytest

from p2pinfer.model.grammar.tools.call_reader import CallReader
from p2pinfer.model.grammar.tools.choice import ToolStyle, choose_style
from p2pinfer.model.grammar.tools.described import call_text, instructions, result_text
from p2pinfer.model.grammar.tools.events import ArgumentsPiece, CallBegan, CallEnded
from p2pinfer.model.grammar.tools.hermes import HERMES
from p2pinfer.model.grammar.tools.layout import CallLayout
from p2pinfer.model.grammar.tools.llama3 import LLAMA3
from p2pinfer.model.grammar.tools.mistral import MISTRAL, MISTRAL_ARGS
from p2pinfer.model.grammar.tools.tool import ToolDefinition, read_tools

DESCRIBED = ToolStyle(layout=HERMES, is_native=False)


@pytest.mark.parametrize(
    ("template", "layout"),
    [
        ('{% if tools %}<tool_call>\\n{"name": "x", "arguments": {{ a }}}\\n</tool_call>{% endif %}', HERMES),
        ("<|start_header_id|>{% if tools %}{{ '\"parameters\": ' }}<|python_tag|>{% endif %}", LLAMA3),
        ('<|start_header_id|>{% if tools %}{{ "{\\"parameters\\": " }}{% endif %}', LLAMA3),
        ('{% if tools %}[AVAILABLE_TOOLS]{% endif %}{{ "[TOOL_CALLS] [" }}', MISTRAL),
        ('{{ "[TOOL_CALLS]" + name + "[ARGS]" + arguments }}', MISTRAL_ARGS),
    ],
)
def test_the_format_is_the_one_that_the_template_writes(template: str, layout: CallLayout):
    assert choose_style(template) == ToolStyle(layout=layout, is_native=True)


@pytest.mark.parametrize(
    "template",
    [
        None,
        "",
        "{% for message in messages %}<|im_start|>{{ message['content'] }}{% endfor %}",
        "<|start_header_id|>{{ message.content }}",
        "{% if tools %}<tool_call>\n<function=x><parameter=arguments>{% endif %}",
        "{% if tools %}<tool_call>name<arg_key>arguments</arg_key>{% endif %}",
        "{% if tools %}<some-other-format>{% endif %}",
    ],
)
def test_a_template_that_writes_no_known_format_gets_a_description(template: str | None):
    assert choose_style(template) == DESCRIBED


def test_the_description_has_every_tool_and_an_example_that_the_reader_understands():
    tools = read_tools([ToolDefinition(name="weather", description="Of a city."), ToolDefinition(name="now")])
    text = instructions(tools.all)
    reader = CallReader(HERMES, ["NAME"])
    reader.feed(text)

    assert reader.calls == 1
    assert json.dumps({"name": "weather", "description": "Of a city."})[:-1] in text
    assert '"name": "now"' in text
    assert "must" not in text
    assert "You must call a tool." in instructions(tools.all, must_call=True)


@pytest.mark.parametrize(("arguments", "shown"), [('{"a": 1}', '{"a": 1}'), ("", "{}"), (" \n", "{}")])
def test_earlier_calls_are_written_as_the_model_should_write_them(arguments: str, shown: str):
    reader = CallReader(HERMES, ["weather"])

    assert reader.feed(call_text("weather", arguments)) == [
        CallBegan(0, "weather"),
        ArgumentsPiece(0, shown),
        CallEnded(0, is_whole=True),
    ]
    assert result_text("5 °C") == "<tool_response>\n5 °C\n</tool_response>"
