"""A line of a batch file is answered as a request to the gateway is."""

from __future__ import annotations

import io

import pytest

from p2pinfer.documents.answering.line_answers import LineAnswers
from p2pinfer.documents.inputs.batch_lines import read_batch
from p2pinfer.documents.inputs.wrong_document import WrongDocument
from p2pinfer.documents.jobs.job import Document, Spent
from p2pinfer.openai_api.errors import ApiError
from tests.documents.answering.asked_model import AskedModel, KeptParts


def line(**body: object) -> Document:
    return Document(number=7, custom_id="a", url="/v1/completions", body={"model": "tiny"} | body)


async def test_a_request_is_answered_in_the_background_and_counted():
    model = AskedModel(str.upper)
    model.chat_template = None
    outcome = await LineAnswers(model.asker()).answer(line(prompt="hello", max_tokens=50), KeptParts())

    assert (outcome.number, outcome.status) == (7, 200)
    assert outcome.body["choices"][0]["text"] == "HELLO"
    assert outcome.spent == Spent(prefill_tokens=2, cached_tokens=3, decode_tokens=5)
    assert all(request.is_background for request in model.requests)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"prompt": "x", "model": "another"}, 404, "model_not_found"),
        ({"prompt": "x", "stream": True}, 400, "unsupported_parameter"),
        ({"prompt": "x", "colour": "red"}, 400, "unknown_parameter"),
        ({}, 400, "missing_required_parameter"),
        ({"prompt": "x" * 5_000}, 400, "context_length_exceeded"),
    ],
)
async def test_a_request_that_can_not_be_answered_says_why(body: dict[str, object], status: int, code: str):
    from p2pinfer.openai_api.errors import as_api_error

    with pytest.raises(Exception) as refused:  # noqa: PT011 - the runner reads it the same way
        await LineAnswers(AskedModel(str).asker()).answer(line(**body), KeptParts())

    error = as_api_error(refused.value)
    assert (error.status, error.code) == (status, code)


async def test_a_wrong_line_fails_when_its_turn_comes():
    (wrong,) = read_batch(io.BytesIO(b"nonsense"))
    assert isinstance(wrong, WrongDocument)

    with pytest.raises(ApiError, match="Line 1: it isn't JSON"):
        await LineAnswers(AskedModel(str).asker()).answer(wrong.document(), KeptParts())
