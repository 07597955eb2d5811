"""The tools of a request: names, numbers and schemas from strangers."""

from __future__ import annotations

from typing import Any

import pytest

from p2pinfer.errors import UsageError
from p2pinfer.model.grammar.tools.tool import ToolChoice, ToolDefinition, read_tools

WEATHER = ToolDefinition(name="weather", parameters={"properties": {"city": {"type": "string"}}})


@pytest.mark.parametrize(
    "name", ["", "a b", "a" * 65, 'x"', "naïve", "a\n", "</tool_call>", "a.b", None, 5, ["a"], "\ud800"]
)
def test_a_name_with_anything_but_letters_digits_and_dashes_is_refused(name: Any):
    """It stands in grammars, and between marks."""
    with pytest.raises(UsageError, match=r"^tools\[1\]: a name has 1 to 64 letters, digits, _ and -"):
        read_tools([WEATHER, ToolDefinition(name=name)])


@pytest.mark.parametrize("count", [0, 129])
def test_there_are_1_to_128_tools(count: int):
    with pytest.raises(UsageError, match=f"tools: 1 to 128 are possible, not {count}"):
        read_tools([ToolDefinition(name=f"tool{number}") for number in range(count)])


def test_two_tools_of_one_name_are_refused():
    with pytest.raises(UsageError, match=r"tools\[1\]: there are two tools called weather"):
        read_tools([WEATHER, WEATHER])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ([], "must be the schema of an object"),
        ("{}", "must be the schema of an object"),
        ({"type": "string"}, "must be the schema of an object"),
        (
            {"properties": {"a": {"type": "text"}}},
            r"the parameters of weather \(tools\[0\]\): /properties/a can't",
        ),
        ({"properties": {"a": {"$ref": "http://x"}}}, "never fetched"),
        ({"properties": {"a": {"enum": ["x" * 200_000]}}}, "longer than"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_with_the_tools_name(parameters: Any, message: str):
    with pytest.raises(UsageError, match=message):
        read_tools([ToolDefinition(name="weather", parameters=parameters)])


def test_the_schemas_of_all_tools_together_are_bounded():
    large = {"properties": {"a": {"enum": ["x" * 100_000]}}}

    with pytest.raises(UsageError, match="more than 262,144 characters together"):
        read_tools([ToolDefinition(name=f"tool{number}", parameters=large) for number in range(3)])


def test_a_description_is_a_text():
    with pytest.raises(UsageError, match=r"tools\[0\]: the description must be a text"):
        read_tools([ToolDefinition(name="weather", description=5)])


def test_a_choice_of_a_tool_that_is_not_offered_is_refused():
    with pytest.raises(UsageError, match="tool_choice names 'whether', which is none of the tools"):
        read_tools([WEATHER], ToolChoice(only="whether"))


def test_a_strict_tool_refuses_what_another_relaxes():
    parameters = {"properties": {"port": {"type": "integer", "format": "uint16"}}}
    relaxed = read_tools([ToolDefinition(name="open", parameters=parameters)]).all[0]

    assert relaxed.schema.relaxed == ("/properties/port/format",)
    assert relaxed.parameters == parameters
    with pytest.raises(UsageError, match="/properties/port/format 'uint16' isn't supported"):
        read_tools([ToolDefinition(name="open", parameters=parameters, is_strict=True)])


@pytest.mark.parametrize("parameters", [None, {}])
def test_a_tool_may_take_nothing(parameters: Any):
    (tool,) = read_tools([ToolDefinition(name="now", parameters=parameters)]).all

    assert tool.parameters == {"type": "object", "properties": {}}


def test_a_named_choice_leaves_one_tool_to_call():
    tools = read_tools([WEATHER, ToolDefinition(name="now")], ToolChoice(only="now"))

    assert [tool.name for tool in tools.callable] == ["now"]
    assert [tool.name for tool in tools.all] == ["weather", "now"]
