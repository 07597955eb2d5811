"""Completions: texts as they are."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.gateway.asking import asking, chunks, error_of
from tests.gateway.stand_in import StandInModel


async def complete(client: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    return await client.post("/v1/completions", json={"model": "tiny", "prompt": "Say: ", **fields})


async def test_an_answer_has_all_that_clients_read():
    async with asking(StandInModel()) as client:
        answer = (await complete(client)).json()
    assert answer["id"].startswith("cmpl-") and answer["object"] == "text_completion"
    assert answer["choices"] == [
        {"index": 0, "text": "Hello there.", "logprobs": None, "finish_reason": "stop"}
    ]
    assert answer["usage"]["prompt_tokens"] == 5 and answer["usage"]["completion_tokens"] == 12


@pytest.mark.parametrize(
    ("prompt", "lengths"),
    [("ab", [2]), (["ab", "c"], [2, 1]), ([5, 6, 7], [3]), ([[5], [6, 7]], [1, 2]), (["ab", [5]], [2, 1])],
)
async def test_prompts_are_texts_or_token_ids(prompt: Any, lengths: list[int]):
    """The choices come prompt by prompt, `n` for each; a prompt counts once."""
    model = StandInModel()
    async with asking(model) as client:
        answer = (await complete(client, prompt=prompt, n=2)).json()
    assert [len(request.prompt) for request in model.requests] == [n for n in lengths for _ in range(2)]
    assert [choice["index"] for choice in answer["choices"]] == list(range(2 * len(lengths)))
    assert answer["usage"]["prompt_tokens"] == sum(lengths)
    assert answer["usage"]["completion_tokens"] == 2 * 12 * len(lengths)


async def test_a_stream_ends_with_a_reason_the_usage_and_done():
    async with asking(StandInModel()) as client:
        made = chunks(await complete(client, stream=True, stream_options={"include_usage": True}))
    *texts, last, usage = made
    assert "".join(one["choices"][0]["text"] for one in texts) == "Hello there."
    assert {one["choices"][0]["finish_reason"] for one in texts} == {None}
    assert last["choices"][0]["finish_reason"] == "stop" and last["choices"][0]["text"] == ""
    assert usage["choices"] == [] and usage["usage"]["completion_tokens"] == 12


async def test_sixteen_tokens_are_the_most_if_nothing_is_said():
    """As OpenAI does."""
    async with asking(StandInModel("x" * 40)) as client:
        answer = (await complete(client)).json()
    assert answer["choices"][0]["text"] == "x" * 16 and answer["choices"][0]["finish_reason"] == "length"


async def test_probabilities_have_the_older_form():
    async with asking(StandInModel("ab")) as client:
        told = (await complete(client, logprobs=2)).json()["choices"][0]["logprobs"]
        made = chunks(await complete(client, logprobs=2, stream=True))
    assert told["tokens"] == ["a", "b"] and told["text_offset"] == [0, 1]
    assert told["token_logprobs"] == [-0.5, -0.5] and told["top_logprobs"][0]["a"] == -0.5
    parts = [one["choices"][0]["logprobs"] for one in made if one["choices"][0]["logprobs"]]
    assert [part["text_offset"] for part in parts] == [[0], [1]]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"echo": True}, "echo"),
        ({"suffix": "x"}, "suffix"),
        ({"best_of": 2}, "best_of"),
        ({"logprobs": 21}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [-1]}, None),
        ({"prompt": [[]]}, None),
        ({"prompt": [1, "a"]}, None),
        ({"tools": []}, "tools"),
    ],
)
async def test_what_is_not_honoured_is_refused_by_name(fields: dict[str, Any], param: str | None):
    async with asking(StandInModel()) as client:
        answer = await complete(client, **fields)
    assert answer.status_code == 400
    error = error_of(answer)
    if param is not None:
        assert error["param"] == param and param in error["message"]


async def test_an_empty_prompt_says_what_is_wrong():
    async with asking(StandInModel()) as client:
        answer = await complete(client, prompt="")
    assert answer.status_code == 400 and "no tokens" in error_of(answer)["message"]


@pytest.mark.parametrize(("prompts", "n"), [(128, 2), (2, 65), (128, 128)])
async def test_prompts_times_answers_are_bounded(prompts: int, n: int):
    """Otherwise one request had 16,384 answers."""
    model = StandInModel()
    async with asking(model) as client:
        answer = await complete(client, prompt=["a"] * prompts, n=n)
    assert answer.status_code == 400 and f"{prompts * n:,}" in error_of(answer)["message"]
    assert error_of(answer)["param"] == "n" and not model.requests


@pytest.mark.parametrize(
    "prompt", [[], [[]], [-1], ["a", 1], [1, "a"], [True], [1.0], 5, {"a": 1}, ["a"] * 129, [["a"]], [[[1]]]]
)
async def test_what_is_no_prompt_is_refused_in_one_sentence(prompt: Any):
    async with asking(StandInModel()) as client:
        answer = await complete(client, prompt=prompt)
    assert answer.status_code == 400 and error_of(answer)["param"] == "prompt"
    assert "a text, a list of token ids" in error_of(answer)["message"]


async def test_a_far_too_long_text_is_not_tokenized_to_its_end():
    """All tokens of 8 MB take seconds and a gigabyte."""
    model = StandInModel()
    seen: list[int] = []
    encode = model.tokenizer.encode

    def watched(text: str, add_special_tokens: bool = True) -> list[int]:
        seen.append(len(text))
        return encode(text, add_special_tokens)

    model.tokenizer.encode = watched  # type: ignore[method-assign]
    async with asking(model) as client:
        answer = await complete(client, prompt="hello " * 500_000)
        chat = await client.post(
            "/v1/chat/completions",
            json={"model": "tiny", "messages": [{"role": "user", "content": "hello " * 1_000_000}]},
        )
    assert error_of(answer)["code"] == error_of(chat)["code"] == "context_length_exceeded"
    assert answer.status_code == chat.status_code == 400
    assert max(seen) < 100_000
