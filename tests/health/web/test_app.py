"""The page's application over a real port: the answer of each address, its headers and its limits."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest
from pydantic import TypeAdapter

from p2pinfer.health.json_form import as_json
from p2pinfer.health.snapshot.state import HealthState
from p2pinfer.health.web import snapshots
from tests.health.states import (
    hostile_state,
    make_samples,
    make_server,
    make_state,
    model_hash,
)
from tests.health.web.asking import ask, fresh_state
from tests.health.web.serving import FakeSource, Served, served

PAGES = ["/", "/api", "/api/v1/state", "/metrics", "/healthz", "/openapi.json", "/static/page.js"]


@pytest.mark.parametrize("path", PAGES)
def test_every_address_answers_get_and_head(page: Served, path: str):
    """HEAD gives the same headers, without a body."""
    got, head = ask(page, path), ask(page, path, method="HEAD")
    assert got.status == head.status == 200
    assert got.body and not head.body
    assert head.headers["content-type"] == got.headers["content-type"]


@pytest.mark.parametrize(
    "path", [*PAGES, "/nothing", "/api/v1/nothing", "/api/v1/history", "/static/../app.py"]
)
def test_every_answer_carries_the_security_headers(page: Served, path: str):
    """Error answers too."""
    headers = ask(page, path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY"
    assert "geolocation=()" in headers["permissions-policy"]
    assert "server" not in headers


def test_the_page_says_the_essentials_without_a_script(page: Served):
    """The HTML itself answers a visitor's questions."""
    text = ask(page, "/").text
    for word in (
        "SmolLM2-135M-Instruct can generate text now",
        "38.5", "77.0", "31.0", "0.42 s",  # tokens per second, and the probe's
        "Car 0", "joining", "UTC",
        "--initial-peers", "p2pinfer.owner init", "Coverage of 30 layers",
        "Servers, serving, over the last",
    ):  # fmt: skip
        assert word in text


def test_the_state_is_the_documented_json(page: Served):
    """It fits the schema's dataclasses, and equals the result of as_json."""
    answer = ask(page, "/api/v1/state")
    assert answer.json == json.loads(json.dumps(as_json(page.source.state())))
    assert TypeAdapter(HealthState).validate_json(answer.body) == page.source.state()


def test_openapi_describes_every_address_of_the_api(page: Served):
    """With the shapes of answers. /api shows the same to people."""
    document = ask(page, "/openapi.json").json
    assert set(document["paths"]) == {
        "/api/v1/state", "/api/v1/history", "/api/v1/events", "/api/v1/receipts", "/metrics", "/healthz",
    }  # fmt: skip
    assert {"HealthState", "ModelView", "ServerView", "Sample"} <= set(document["components"]["schemas"])
    human = ask(page, "/api").text
    assert all(path in human for path in document["paths"])


def test_an_unchanged_answer_is_not_sent_again(page: Served):
    """Page and state have an ETag; a request with it gets 304, also through a proxy that weakens it."""
    for path in ("/", "/api/v1/state", "/metrics", "/static/style.css"):
        etag = ask(page, path).headers["etag"]
        again = ask(page, path, if_none_match=f'"other", {etag}')
        assert again.status == 304 and not again.body and again.headers["etag"] == etag
        assert ask(page, path, if_none_match='"other"').status == 200


def test_a_new_snapshot_has_a_new_etag():
    with served(FakeSource(fresh_state())) as page:
        known = ask(page, "/").headers["etag"]
        page.source.publish(fresh_state(servers=[make_server(0, (0, 10))]))
        page.wait_for("nobody serves layers 10–29")
        assert ask(page, "/", if_none_match=known).status == 200


def test_answers_are_compressed_for_clients_that_accept_it(page: Served):
    small = ask(page, "/", accept_encoding="br, gzip;q=0.5")
    assert small.headers["content-encoding"] == "gzip" and small.headers["vary"] == "accept-encoding"
    for other in ("identity", "gzip;q=0", "gzipped"):
        assert "content-encoding" not in ask(page, "/", accept_encoding=other).headers


def test_a_mistake_of_ours_is_admitted_with_all_headers():
    """The source raises: the answer has no details, but has the policy."""
    source = FakeSource(fresh_state())
    with served(source) as page:
        source.history = lambda model, hours: 1 / 0  # type: ignore[method-assign, return-value]
        answer = ask(page, f"/api/v1/history?model={model_hash(0)}")
        assert answer.status == 500 and set(answer.json) == {"error", "what_to_do"}
        assert "division" not in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_history_is_of_the_model_that_was_asked_for(page: Served):
    known = ask(page, f"/api/v1/history?model={model_hash(0)}&hours=6").json
    assert known["hours"] == 6 and len(known["samples"]) == 60
    assert set(known["samples"][0]) >= {"at", "servers", "weakest_replicas"}
    assert ask(page, f"/api/v1/history?model={'0' * 64}").json["samples"] == []


@pytest.mark.parametrize(
    "query",
    ["", "model=x", f"model={'g' * 64}", f"model={'a' * 65}"]
    + [f"model={'a' * 64}&hours={hours}" for hours in ("0", "0.05", "193", "nan", "inf", "-1", "x")],
)
def test_a_wrong_query_is_refused_with_what_to_do(page: Served, query: str):
    """422, in JSON, without the text that was sent."""
    answer = ask(page, f"/api/v1/history?{query}")
    assert answer.status == 422
    assert set(answer.json) == {"error", "what_to_do"}


def test_an_unknown_address_gets_a_friendly_page_or_json(page: Served):
    """A page in the usual design; JSON for the API."""
    for path in ("/nothing", "/static/app.py", "/static/%2e%2e/app.py", "/<script>", "/docs", "/redoc"):
        answer = ask(page, path.replace("<", "%3C").replace(">", "%3E"))
        assert answer.status == 404 and "Nothing here" in answer.text and "style.css" in answer.text
    assert ask(page, "/api/v1/nothing").json["error"] == "Nothing here"
    assert ask(page, "/", method="DELETE").status == 405


def test_a_lying_host_header_changes_nothing(page: Served):
    for path in ("/", "/nothing", "/api/", "/static"):
        answer = ask(page, path, host="evil.example.org:99/x")
        assert b"evil" not in answer.body and "location" not in answer.headers


def test_healthz_fails_when_the_snapshot_is_old():
    """120 s; the page says it too."""
    with served(FakeSource(fresh_state())) as page:
        assert ask(page, "/healthz").json["ok"] is True
        assert 'id="stale" hidden' in ask(page, "/").text
    with served(FakeSource(make_state(generated_at=time.time() - 121))) as page:
        answer = ask(page, "/healthz")
        assert answer.status == 503 and answer.json["ok"] is False and answer.json["age_seconds"] >= 121
        text = ask(page, "/").text
        assert 'id="stale">' in text and "generate text when last seen" in text


def test_trouble_is_said_though_the_snapshot_is_no_newer():
    """Trouble is shown although the snapshot keeps its time."""
    state = fresh_state()
    with served(FakeSource(state)) as page:
        page.source._state = replace(state, fresh=False, detail="no peer answers")
        page.wait_for("no peer answers")


def test_a_hostile_swarm_is_served_everywhere():
    """NaN, a billion layers, a megabyte, lone surrogates: every address still answers."""
    with served(FakeSource(hostile_state(), make_samples())) as page:
        text = ask(page, "/").text
        assert len(text) < 2_000_000 and "&lt;script&gt;" in text
        assert "\x1b" not in text and "\u202e" not in text
        state = ask(page, "/api/v1/state")
        assert state.status == 200 and state.json["fresh"] is False
        assert ask(page, "/metrics").status == 200
        assert ask(page, "/healthz").status == 503


def test_a_snapshot_that_cannot_be_rendered_leaves_the_page_as_it_is_and_becomes_old(monkeypatch, caplog):
    """A fault of ours that one server brings out: healthz tells it, and a later snapshot is shown again."""
    source = FakeSource(make_state(generated_at=time.time() - 119.0))
    render = snapshots.render_page

    def fail(state: HealthState, *more: object, **words: object) -> str:
        if state.version == "bad":
            raise ArithmeticError("a fault")
        return render(state, *more, **words)

    monkeypatch.setattr(snapshots, "render_page", fail)
    with served(source) as page:
        source.publish(fresh_state(version="bad"))
        deadline = time.monotonic() + 60
        while ask(page, "/healthz").status == 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert ask(page, "/").status == 200
        source.publish(fresh_state(version="good"))
        page.wait_for("Page software good")
        assert ask(page, "/healthz").status == 200
    assert "a snapshot can't be rendered" in caplog.text
