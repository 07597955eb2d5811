"""The client `openai`, sync and async, with a gateway of a real swarm."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Literal

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from tests.end_to_end.gateway.conftest import MODEL
from tests.end_to_end.gateway.running import GatewayProcess

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}


class Town(BaseModel):
    """What a small model can fill in."""

    size: Literal["small", "large"]
    is_capital: bool


@pytest.fixture(scope="module")
def client(gateway: GatewayProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=gateway.url, api_key="none", max_retries=0) as client:
        yield client


def test_the_models_are_listed(client: OpenAI):
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).object == "model"


def test_a_seed_gives_the_same_text_streamed_or_not(client: OpenAI):
    """And another seed another one."""
    asked = {"model": MODEL, "messages": QUESTION, "max_completion_tokens": 16}
    whole = client.chat.completions.create(**asked, seed=5)
    other = client.chat.completions.create(**asked, seed=6)
    text = "".join(
        chunk.choices[0].delta.content or ""
        for chunk in client.chat.completions.create(**asked, seed=5, stream=True)
    )
    assert text and text == whole.choices[0].message.content != other.choices[0].message.content
    assert whole.usage is not None and whole.usage.completion_tokens <= 16


def test_the_stream_helper_reads_every_event(client: OpenAI):
    with client.chat.completions.stream(
        model=MODEL, messages=QUESTION, response_format=Town, max_completion_tokens=60,
        stream_options={"include_usage": True}, temperature=0, logprobs=True,
    ) as stream:  # fmt: skip
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done", "logprobs.content.delta"} <= kinds
    assert isinstance(final.choices[0].message.parsed, Town)
    assert final.usage is not None and final.choices[0].logprobs is not None
    assert len(final.choices[0].logprobs.content or []) == final.usage.completion_tokens


def test_an_answer_is_parsed_into_a_type(client: OpenAI):
    parsed = client.chat.completions.parse(
        model=MODEL, messages=[{"role": "user", "content": "Is Paris a capital?"}],
        response_format=Town, max_completion_tokens=60, seed=1,
    )  # fmt: skip
    town = parsed.choices[0].message.parsed
    assert isinstance(town, Town)


def test_a_tool_is_called_and_its_result_taken(client: OpenAI):
    """The second request has the call and its result in its history."""
    messages = [{"role": "user", "content": "How is the weather in Rome?"}]
    asked = {"model": MODEL, "tools": [WEATHER], "max_completion_tokens": 60, "seed": 1}
    first = client.chat.completions.create(
        **asked, messages=messages, tool_choice="required", parallel_tool_calls=False
    )
    assert first.choices[0].finish_reason == "tool_calls"
    (call,) = first.choices[0].message.tool_calls
    assert json.loads(call.function.arguments)["city"] in ("Paris", "Rome")
    result = {"role": "tool", "tool_call_id": call.id, "content": "22 degrees"}
    second = client.chat.completions.create(
        **asked, messages=[*messages, first.choices[0].message, result], tool_choice="none"
    )
    assert second.choices[0].message.content


def test_a_named_tool_is_streamed(client: OpenAI):
    with client.chat.completions.stream(
        model=MODEL, messages=QUESTION, tools=[WEATHER], max_completion_tokens=60, seed=1,
        tool_choice={"type": "function", "function": {"name": "weather"}}, parallel_tool_calls=False,
    ) as stream:  # fmt: skip
        final = stream.get_final_completion()
    (call,) = final.choices[0].message.tool_calls
    assert call.function.parsed_arguments["city"] in ("Paris", "Rome")


def test_completions_take_texts_and_token_ids(client: OpenAI):
    answer = client.completions.create(
        model=MODEL, prompt=["One, two,", "The sky is"], max_tokens=4, n=2, seed=1, logprobs=2
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert all(len(choice.logprobs.tokens) == 4 for choice in answer.choices)
    ids = client.completions.create(model=MODEL, prompt=[504, 3575], max_tokens=2, stream=True)
    assert [chunk.choices[0].finish_reason for chunk in ids][-1] == "length"


def test_responses_are_read_whole_and_streamed(client: OpenAI):
    asked = {"model": MODEL, "input": "What is the capital of France?", "max_output_tokens": 12}
    whole = client.responses.create(**asked, temperature=0, instructions="Be brief.")
    assert whole.output_text and whole.usage.output_tokens <= 12
    with client.responses.stream(**asked, temperature=0, instructions="Be brief.") as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
    assert text == whole.output_text


def test_a_response_is_parsed_into_a_type(client: OpenAI):
    answer = client.responses.parse(
        model=MODEL, input="Is Paris a capital?", text_format=Town, max_output_tokens=60
    )
    assert isinstance(answer.output_parsed, Town)


def test_a_response_calls_a_tool(client: OpenAI):
    tool = {"type": "function", **WEATHER["function"]}
    answer = client.responses.create(
        model=MODEL, input="How is the weather in Rome?", tools=[tool], tool_choice="required",
        max_output_tokens=60, parallel_tool_calls=False,
    )  # fmt: skip
    (call,) = answer.output
    assert call.type == "function_call" and json.loads(call.arguments)["city"] in ("Paris", "Rome")
    history = [{"role": "user", "content": "How is the weather in Rome?"}, call]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "22 degrees"}
    again = client.responses.create(model=MODEL, input=[*history, result], max_output_tokens=8, store=False)
    assert again.output_text


def test_errors_have_the_clients_own_types(client: OpenAI):
    with pytest.raises(openai.NotFoundError, match=MODEL):
        client.chat.completions.create(model="gpt-5", messages=QUESTION)
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=MODEL, messages=QUESTION, store=True)
    assert refused.value.param == "store"
    with pytest.raises(openai.BadRequestError) as long:
        client.completions.create(model=MODEL, prompt=[1] * 9_000)
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="embedding"):
        client.embeddings.create(model=MODEL, input="x")


async def test_many_answers_are_streamed_at_once(gateway: GatewayProcess):
    """Those who leave early free their rows."""
    async with AsyncOpenAI(base_url=gateway.url, api_key="none", max_retries=0) as client:
        streams = [
            await client.chat.completions.create(
                model=MODEL, messages=QUESTION, max_completion_tokens=400, stream=True, seed=seed
            )
            for seed in range(8)
        ]
        for stream in streams:
            assert (await anext(aiter(stream))).choices[0].delta.role == "assistant"
            await stream.close()
        last = await client.chat.completions.create(
            model=MODEL, messages=QUESTION, max_completion_tokens=4, seed=1
        )
    assert last.usage is not None and last.usage.completion_tokens <= 4
