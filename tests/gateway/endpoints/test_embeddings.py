"""Embeddings."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from tests.gateway.asking import asking, error_of
from tests.gateway.stand_in import StandInModel


def embedder() -> StandInModel:
    model = StandInModel()
    model.width = 4
    return model


async def test_vectors_come_as_numbers_or_as_base64():
    """`openai` asks for base64 unless told otherwise."""
    async with asking(embedder()) as client:
        body: dict[str, Any] = {"model": "tiny", "input": ["abcd", "ef"]}
        numbers = (await client.post("/v1/embeddings", json=body)).json()
        packed = (await client.post("/v1/embeddings", json={**body, "encoding_format": "base64"})).json()
    assert numbers["object"] == "list" and numbers["usage"] == {"prompt_tokens": 6, "total_tokens": 6}
    assert [entry["index"] for entry in numbers["data"]] == [0, 1]
    for one, other in zip(numbers["data"], packed["data"], strict=True):
        raw = np.frombuffer(base64.b64decode(other["embedding"]), "<f4")
        assert raw.tolist() == one["embedding"] and len(raw) == 4


@pytest.mark.parametrize("ids", [[1, 2], [[1, 2], [3]]])
async def test_token_ids_are_refused_with_the_setting_that_helps(ids: Any):
    """LangChain sends those of OpenAI's tokenizer."""
    async with asking(embedder()) as client:
        answer = await client.post("/v1/embeddings", json={"model": "tiny", "input": ids})
    assert answer.status_code == 400
    assert "check_embedding_ctx_length=False" in error_of(answer)["message"]


async def test_a_model_that_makes_no_vectors_says_so():
    async with asking(StandInModel()) as client:
        answer = await client.post("/v1/embeddings", json={"model": "tiny", "input": "x"})
    assert answer.status_code == 400 and "embeddings" in error_of(answer)["message"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"dimensions": 3}, "dimensions"), ({"encoding_format": "int8"}, "encoding_format"), ({"x": 1}, "x"),
     ({"input": []}, "input"), ({"input": [""]}, "input[0]"), ({"input": None}, "input")],
)  # fmt: skip
async def test_what_is_not_honoured_is_refused_by_name(fields: dict[str, Any], param: str):
    async with asking(embedder()) as client:
        answer = await client.post("/v1/embeddings", json={"model": "tiny", "input": "x", **fields})
    assert answer.status_code == 400 and error_of(answer)["param"] == param


async def test_the_models_own_number_of_dimensions_is_no_wish():
    async with asking(embedder()) as client:
        body = {"model": "tiny", "input": "x", "dimensions": 4, "user": "me"}
        assert (await client.post("/v1/embeddings", json=body)).status_code == 200


async def test_a_failure_is_measured_and_a_fault_is_in_the_log(caplog: pytest.LogCaptureFixture):
    model = embedder()

    async def fail(prompts: Any) -> Any:
        raise ZeroDivisionError

    async with asking(model) as client:
        body = {"model": "tiny", "input": "x"}
        assert (await client.post("/v1/embeddings", json=body)).status_code == 200
        model.embed = fail  # type: ignore[method-assign]
        assert (await client.post("/v1/embeddings", json=body)).status_code == 500
        text = (await client.get("/metrics")).text
    for status in (200, 500):
        labels = f'endpoint="/embeddings",model="tiny",status="{status}"'
        assert f"p2pinfer_gateway_requests_total{{{labels}}} 1.0" in text
    assert 'p2pinfer_gateway_tokens_total{kind="prompt",model="tiny"} 1.0' in text
    assert 'p2pinfer_gateway_waiting{model="tiny"} 0.0' in text
    assert "fault of p2pinfer" in caplog.text
