"""Models, health, metrics, docs, and addresses that aren't there."""

from __future__ import annotations

import pytest

from tests.gateway.asking import asking, chat, error_of
from tests.gateway.stand_in import StandInModel


@pytest.mark.parametrize("prefix", ["/v1", ""])
async def test_models_are_listed_with_and_without_v1(prefix: str):
    """Open WebUI asks `GET /models`, and needs `object`."""
    async with asking(StandInModel(), StandInModel()) as client:
        listed = (await client.get(f"{prefix}/models")).json()
        one = await client.get(f"{prefix}/models/tiny-1")
        missing = await client.get(f"{prefix}/models/org/other")
    assert listed["object"] == "list" and [entry["id"] for entry in listed["data"]] == ["tiny", "tiny-1"]
    assert one.json() == listed["data"][1]
    assert {"id", "object", "created", "owned_by"} <= one.json().keys() and one.json()["object"] == "model"
    assert missing.status_code == 404 and error_of(missing)["code"] == "model_not_found"


async def test_all_endpoints_answer_without_v1_too():
    async with asking(StandInModel()) as client:
        body = {"model": "tiny", "messages": [{"role": "user", "content": "x"}]}
        assert (await client.post("/chat/completions", json=body)).status_code == 200


async def test_a_gateway_without_a_model_says_that_it_looks_for_one():
    async with asking() as client:
        health, answer = await client.get("/healthz"), await chat(client)
    assert health.status_code == 503 and health.json() == {"ok": False, "models": 0}
    assert answer.status_code == 503 and answer.headers["retry-after"]


async def test_metrics_count_requests_and_tokens():
    async with asking(StandInModel()) as client:
        await chat(client)
        await chat(client, model="other")
        await chat(client, stream=True)
        text = (await client.get("/metrics")).text
        assert (await client.get("/healthz")).json() == {"ok": True, "models": 1}
    labels = 'endpoint="/chat/completions",model="tiny",status="200"'
    assert f"p2pinfer_gateway_requests_total{{{labels}}} 2.0" in text
    assert 'p2pinfer_gateway_tokens_total{kind="completion",model="tiny"} 24.0' in text
    assert 'p2pinfer_gateway_first_token_seconds_count{model="tiny"} 2.0' in text
    assert 'p2pinfer_gateway_waiting{model="tiny"} 0.0' in text
    assert 'p2pinfer_gateway_running{model="tiny"} 0.0' in text


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/nothing", 404), ("GET", "/nothing", 404),
    ("GET", "/v1/chat/completions", 405), ("DELETE", "/v1/models", 405)])  # fmt: skip
async def test_an_address_that_is_not_there_is_an_error_in_the_same_form(method: str, path: str, status: int):
    async with asking(StandInModel()) as client:
        answer = await client.request(method, path)
    assert answer.status_code == status and "/docs" in error_of(answer)["message"]


@pytest.mark.parametrize(
    ("content", "media_type"),
    [(b"{", "application/json"), (b"[" * 100_000, "application/json"), (b"null", "application/json"),
     (b"", "application/json"), (b"\xff\xfe", "application/json"), (b'{"model": "\xe9"}', "application/json"),
     (b'{"model": "tiny", "messages": [], "temperature": NaN}', "application/json")],
)  # fmt: skip
async def test_a_body_that_is_no_json_object_is_refused(content: bytes, media_type: str):
    async with asking(StandInModel()) as client:
        answer = await client.post(
            "/v1/chat/completions", content=content, headers={"content-type": media_type}
        )
    assert answer.status_code == 400 and error_of(answer)["code"]


@pytest.mark.parametrize(
    ("headers", "named"),
    [({"content-type": "text/plain"}, "text/plain"), ({"content-type": ""}, "missing"),
     ({"content-type": "application/x-www-form-urlencoded"}, "Content-Type: application/json"),
     ({"content-type": "application/json", "content-encoding": "gzip"}, "gzip")],
)  # fmt: skip
async def test_a_body_of_another_kind_is_refused_with_the_header_that_helps(
    headers: dict[str, str], named: str
):
    """The first is what a page of another site can send without being asked, the third what curl does."""
    async with asking(StandInModel()) as client:
        answer = await client.post("/v1/chat/completions", content=b'{"model": "tiny"}', headers=headers)
    assert answer.status_code == 415 and named in error_of(answer)["message"]


async def test_a_body_that_is_too_long_is_refused():
    async with asking(StandInModel(), most_body_bytes=1_000) as client:
        answer = await chat(client, user="x" * 1_000)
    assert answer.status_code == 413 and error_of(answer)["code"] == "request_too_large"


async def test_the_docs_load_nothing_from_elsewhere():
    async with asking(StandInModel()) as client:
        page = await client.get("/docs")
        style = await client.get("/docs/docs.css")
        missing = await client.get("/docs/other.css")
    assert page.status_code == style.status_code == 200 and missing.status_code == 404
    assert "http" not in page.text.replace("http-equiv", "") and "<script" not in page.text
    for word in ("/v1/chat/completions", "max_completion_tokens", "web_search_options", "top_k"):
        assert word in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


async def test_a_body_that_is_given_up_for_others_is_asked_for_again():
    """It says when, in OpenAI's form; clients of OpenAI try again by themselves."""
    async with asking(StandInModel(), most_coming_bytes=1_000) as client:
        answer = await chat(client, messages=[{"role": "user", "content": "x" * 2_000}])
        assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0
        assert error_of(answer)["code"] == "too_much_at_once"
        assert (await chat(client)).status_code == 200


async def test_a_body_that_is_nested_too_deep_is_refused_before_anything_reads_it():
    body = b'{"model": "tiny", "messages": [], "tools": ' + b"[" * 900 + b"]" * 900 + b"}"
    async with asking(StandInModel()) as client:
        answer = await client.post(
            "/v1/chat/completions", content=body, headers={"content-type": "application/json"}
        )
    assert answer.status_code == 400 and error_of(answer)["code"] == "invalid_json"
    assert "deeper than 64 levels" in error_of(answer)["message"]
