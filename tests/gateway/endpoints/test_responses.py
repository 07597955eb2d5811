"""Responses: items, events in their order, and nothing stored."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from p2pinfer.errors import NoRouteError
from tests.gateway.asking import asking, error_of
from tests.gateway.stand_in import StandInModel
from tests.gateway.tools import TOOL

FLAT_TOOL = {"type": "function", **TOOL["function"]}  # type: ignore[dict-item]
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'


async def respond(client: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    return await client.post("/v1/responses", json={"model": "tiny", "input": "Hi!", **fields})


def events_of(answer: httpx.Response) -> list[dict[str, Any]]:
    """The events, each named as its type and numbered."""
    events = []
    for block in answer.text.strip().split("\n\n"):
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


async def test_a_text_is_a_message():
    async with asking(StandInModel()) as client:
        answer = (await respond(client, metadata={"a": "b"}, store=False)).json()
    assert answer["object"] == "response" and answer["status"] == "completed" and answer["store"] is False
    (item,) = answer["output"]
    assert (item["type"], item["role"], item["status"]) == ("message", "assistant", "completed")
    assert item["content"] == [
        {"type": "output_text", "text": "Hello there.", "annotations": [], "logprobs": []}
    ]
    assert answer["usage"]["output_tokens"] == 12 and answer["metadata"] == {"a": "b"}
    assert answer["usage"]["input_tokens_details"]["cached_tokens"] == 3


async def test_a_stream_announces_writes_and_repeats_each_part():
    async with asking(StandInModel("Hi")) as client:
        events = events_of(await respond(client, stream=True))
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta",
        "output_text.delta", "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    assert events[2]["item"]["content"] == [] and events[3]["part"]["text"] == ""
    assert events[6]["text"] == "Hi" == events[-1]["response"]["output"][0]["content"][0]["text"]
    assert events[0]["response"]["output"] == [] and events[0]["response"]["usage"] is None


async def test_a_call_is_an_item_of_its_own():
    async with asking(StandInModel(f"Let me see.\n{CALL}")) as client:
        answer = (await respond(client, tools=[FLAT_TOOL])).json()
        events = events_of(await respond(client, tools=[FLAT_TOOL], stream=True))
    text, call = answer["output"]
    assert text["content"][0]["text"] == "Let me see."
    assert (call["type"], call["name"], call["status"]) == ("function_call", "weather", "completed")
    assert json.loads(call["arguments"]) == {"city": "Rome"} and call["call_id"].startswith("call_")
    pieces = [e["delta"] for e in events if e["type"] == "response.function_call_arguments.delta"]
    assert json.loads("".join(pieces)) == {"city": "Rome"}
    done = [event for event in events if event["type"] == "response.output_item.done"]
    assert [event["output_index"] for event in done] == [0, 1]
    assert events[-1]["response"]["output"] == [event["item"] for event in done]


async def test_an_answer_that_is_cut_is_incomplete():
    async with asking(StandInModel()) as client:
        answer = (await respond(client, max_output_tokens=3)).json()
        events = events_of(await respond(client, max_output_tokens=3, stream=True))
    assert answer["status"] == "incomplete"
    assert answer["incomplete_details"] == {"reason": "max_output_tokens"}
    assert answer["output"][0]["status"] == "incomplete"
    assert events[-1]["type"] == "response.incomplete"


async def test_an_empty_answer_is_a_message_without_text():
    async with asking(StandInModel("")) as client:
        answer = (await respond(client)).json()
        events = events_of(await respond(client, stream=True))
    assert answer["output"][0]["content"][0]["text"] == ""
    assert events[-1]["type"] == "response.completed"


async def test_items_become_the_conversation():
    model = StandInModel()
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "Weather in Rome?"}]},
        {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
         "content": [{"type": "output_text", "text": "Let me see.", "annotations": [], "logprobs": []}]},
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "weather", "arguments": "{}",
         "status": "completed"},
        {"type": "function_call_output", "call_id": "c1", "output": "22 degrees"},
    ]  # fmt: skip
    async with asking(model) as client:
        answer = await respond(client, input=items, instructions="Be brief.", tools=[FLAT_TOOL])
    assert answer.status_code == 200, answer.text
    assert model.chat_template is not None
    system, user, assistant, tool = model.chat_template.rendered[0]
    assert system["content"] == "Be brief." and user["content"] == "Weather in Rome?"
    assert assistant["content"] == "Let me see." and assistant["tool_calls"][0]["id"] == "c1"
    assert tool["content"] == "22 degrees" and tool["name"] == "weather"


async def test_a_schema_is_enforced():
    schema = {"type": "object", "properties": {"n": {"enum": [5]}}, "required": ["n"]}
    async with asking(StandInModel()) as client:
        wanted = {"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True}}
        answer = (await respond(client, text=wanted)).json()
    assert json.loads(answer["output"][0]["content"][0]["text"]) == {"n": 5}
    assert answer["text"]["format"]["schema"] == schema


async def test_probabilities_are_told_if_included():
    async with asking(StandInModel("é!")) as client:
        fields = {"include": ["message.output_text.logprobs"], "top_logprobs": 1}
        answer = (await respond(client, **fields)).json()
        events = events_of(await respond(client, **fields, stream=True))
    told = answer["output"][0]["content"][0]["logprobs"]
    assert [entry["bytes"] for entry in told] == [[0xC3], [0xA9], [0x21]]
    deltas = [event["logprobs"] for event in events if event["type"] == "response.output_text.delta"]
    assert [entry for part in deltas for entry in part] == told


async def test_an_error_in_the_middle_is_an_event():
    model = StandInModel()
    model.fail_after = (4, NoRouteError("nobody serves layers 2:4"))
    async with asking(model) as client:
        events = events_of(await respond(client, stream=True))
    assert events[-1]["type"] == "error" and events[-1]["code"] == "no_route"
    assert not model.open_texts


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"store": True}, "store"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"truncation": "auto"}, "truncation"),
        ({"reasoning": {"effort": "low"}}, "effort"),
        ({"tools": [{"type": "web_search"}]}, None),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input"),
        ({"input": [{"type": "web_search_call", "id": "x"}]}, "input"),
        ({"include": ["file_search_call.results"]}, "include[0]"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"n": 2}, "n"),
        ({"stop": "x"}, "stop"),
    ],
)
async def test_what_is_not_honoured_is_refused_by_name(fields: dict[str, Any], param: str | None):
    async with asking(StandInModel()) as client:
        answer = await respond(client, **fields)
    assert answer.status_code == 400
    if param is not None:
        assert error_of(answer)["param"] == param
