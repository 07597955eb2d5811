"""Tools and JSON in chat completions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.gateway.asking import asking, chat, chunks, error_of
from tests.gateway.stand_in import StandInModel
from tests.gateway.tools import TOOL

CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'
WITHOUT_CALL = "It is warm."
PARTS = [{"type": "text", "text": "Weather "}, {"type": "text", "text": "in Rome?"}]
ARGUMENTS = '{"city":"Rome"}'


async def test_a_json_schema_is_enforced():
    schema = {"type": "object", "properties": {"n": {"type": "integer", "enum": [5]}}, "required": ["n"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "number", "schema": schema, "strict": True}}
    async with asking(StandInModel()) as client:
        answer = (await chat(client, response_format=wanted)).json()
    assert json.loads(answer["choices"][0]["message"]["content"]) == {"n": 5}


async def test_a_json_object_is_enforced():
    async with asking(StandInModel('{"a": 1}')) as client:
        answer = (await chat(client, response_format={"type": "json_object"})).json()
    assert json.loads(answer["choices"][0]["message"]["content"]) == {"a": 1}


async def test_a_schema_that_can_not_be_enforced_is_refused_with_its_name():
    wanted = {"type": "json_schema", "json_schema": {"name": "own", "schema": {"$ref": "http://x/y"}}}
    async with asking(StandInModel()) as client:
        answer = await chat(client, response_format=wanted)
    assert answer.status_code == 400 and "own" in error_of(answer)["message"]


async def test_a_call_of_a_tool_is_told_as_one():
    async with asking(StandInModel(CALL)) as client:
        answer = (await chat(client, tools=[TOOL])).json()
    (choice,) = answer["choices"]
    (call,) = choice["message"]["tool_calls"]
    assert choice["finish_reason"] == "tool_calls" and choice["message"]["content"] is None
    assert call["type"] == "function" and call["id"].startswith("call_")
    assert call["function"]["name"] == "weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "Rome"}


async def test_a_streamed_call_begins_with_its_name_and_its_pieces_are_its_arguments():
    async with asking(StandInModel(CALL)) as client:
        made = chunks(await chat(client, tools=[TOOL], stream=True))
    deltas = [call for one in made for call in one["choices"][0]["delta"].get("tool_calls", [])]
    assert deltas[0]["function"] == {"name": "weather", "arguments": ""} and deltas[0]["id"]
    assert all(delta["index"] == 0 for delta in deltas)
    assert json.loads("".join(delta["function"]["arguments"] for delta in deltas)) == {"city": "Rome"}
    assert made[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_arguments_of_a_tool_that_takes_nothing_are_an_empty_object():
    """`llm` parses them: an empty text would be an error there."""
    tool = {"type": "function", "function": {"name": "now"}}
    async with asking(StandInModel('<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>')) as client:
        whole = (await chat(client, tools=[tool], tool_choice="required")).json()
        made = chunks(await chat(client, tools=[tool], stream=True, tool_choice="required"))
    assert whole["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == "{}"
    pieces = [
        call["function"].get("arguments", "")
        for one in made
        for call in one["choices"][0]["delta"].get("tool_calls", [])
    ]
    assert "".join(pieces) == "{}"


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
async def test_a_tool_that_must_be_called_is(choice: Any):
    async with asking(StandInModel(WITHOUT_CALL)) as client:
        answer = (await chat(client, tools=[TOOL], tool_choice=choice)).json()
    (call,) = answer["choices"][0]["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"])["city"] in ("Paris", "Rome")


async def test_a_model_may_answer_without_calling():
    async with asking(StandInModel(WITHOUT_CALL)) as client:
        for choice in (None, "auto", "none"):
            answer = (await chat(client, tools=[TOOL], tool_choice=choice)).json()
            assert answer["choices"][0]["message"]["content"] == WITHOUT_CALL
            assert answer["choices"][0]["finish_reason"] == "stop"


async def test_a_history_with_calls_reaches_the_template():
    model = StandInModel()
    history = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": PARTS},
        {
            "role": "assistant",
            "content": None,
            "refusal": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": ARGUMENTS}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "22 degrees"},
    ]  # fmt: skip
    async with asking(model) as client:
        assert (await chat(client, messages=history, tools=[TOOL])).status_code == 200
    assert model.chat_template is not None
    system, user, assistant, tool = model.chat_template.rendered[0]
    assert system == {"role": "system", "content": "Be brief."}
    assert user["content"] == "Weather in Rome?"
    assert assistant["tool_calls"][0]["function"] == {"name": "weather", "arguments": {"city": "Rome"}}
    assert (tool["role"], tool["name"], tool["content"]) == ("tool", "weather", "22 degrees")
    shown = model.chat_template.tools[0]
    assert shown is not None and shown[0]["function"]["name"] == "weather"


async def test_a_template_without_tools_gets_them_described():
    model = StandInModel(CALL)
    assert model.chat_template is not None
    model.chat_template.text = "{{ messages }}"
    async with asking(model) as client:
        answer = (await chat(client, tools=[TOOL])).json()
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    system, _ = model.chat_template.rendered[0]
    assert system["role"] == "system" and "weather" in system["content"]
    assert model.chat_template.tools == [None]
