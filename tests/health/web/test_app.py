"""The page's application over a real port: what each address answers, its headers, and its limits."""

from __future__ import annotations

import gzip
import http.client
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from p2pinfer.health.json_form import as_json
from p2pinfer.health.snapshot import words
from p2pinfer.health.snapshot.source import MAX_BUNDLE_BYTES
from p2pinfer.health.snapshot.state import Activity, HealthState
from p2pinfer.health.web import security
from p2pinfer.health.web.rendering.page import render_page
from tests.health.states import (
    NOW,
    hostile_state,
    large_state,
    make_contribution,
    make_model,
    make_probe,
    make_samples,
    make_server,
    make_state,
    model_hash,
)
from tests.health.web.serving import FakeSource, Served, recent_samples, served

VOID = {"meta", "link", "input", "br", "img", "hr"}
PAGES = ["/", "/api", "/api/v1/state", "/metrics", "/healthz", "/openapi.json", "/static/page.js"]


class Answer:
    """What came back."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()
        if self.headers.get("content-encoding") == "gzip":
            self.body = gzip.decompress(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> dict:
        return json.loads(self.body)


def ask(page: Served, path: str, *, method: str = "GET", body: object = None, **headers: str) -> Answer:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", page.server.port, timeout=20)
    try:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body=body, headers=names)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def fresh_state(**changes: object) -> HealthState:
    """One that was read just now."""
    return make_state(generated_at=time.time(), **changes)


@pytest.fixture(scope="module")
def page() -> Iterator[Served]:
    """A small swarm's page. Tests that change it have their own."""
    state = make_state(
        generated_at=time.time(), probe=make_probe(), contributions=[make_contribution(n) for n in range(3)]
    )
    with served(FakeSource(state, recent_samples())) as running:
        yield running


@pytest.mark.parametrize("path", PAGES)
def test_every_address_answers_get_and_head(page: Served, path: str):
    """HEAD says the same, without a body."""
    got, head = ask(page, path), ask(page, path, method="HEAD")
    assert got.status == head.status == 200
    assert got.body and not head.body
    assert head.headers["content-type"] == got.headers["content-type"]


@pytest.mark.parametrize(
    "path", [*PAGES, "/nothing", "/api/v1/nothing", "/api/v1/history", "/static/../app.py"]
)
def test_every_answer_carries_the_security_headers(page: Served, path: str):
    """Also those that say what went wrong."""
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
    """What a stranger asks is in the HTML itself."""
    text = ask(page, "/").text
    for word in (
        "SmolLM2-135M-Instruct can generate text now",
        "38.5", "77.0", "31.0", "0.42 s",  # tokens per second, and the probe's
        "Car 0", "joining", "UTC",
        "--initial-peers", "p2pinfer.owner init", "Coverage of 30 layers",
        "Servers, serving, over the last",
    ):  # fmt: skip
        assert word in text


def test_headlines_are_sentences_for_strangers():
    """Works, thin, and down, and which layers that is about."""
    both = [make_server(0, (0, 30)), make_server(1, (0, 30))]
    assert words.headline(make_model(name="M", servers=both)) == "M can generate text now"
    thin = [make_server(0, (0, 30)), make_server(1, (0, 10)), make_server(2, (20, 30))]
    assert (
        words.headline(make_model(name="M", servers=thin)) == "M is thin: layers 10–19 depend on one server"
    )
    alone = [make_server(0, (0, 15)), make_server(1, (15, 30))]
    assert (
        words.headline(make_model(name="M", servers=alone))
        == "M is thin: layers 0–29 depend on one server each"
    )
    down = make_model(name="M", servers=[make_server(0, (0, 10)), make_server(1, (20, 29))])
    assert words.headline(down) == "M cannot generate: nobody serves layers 10–19 and 29"
    joining = make_model(name="M", servers=[make_server(0, (0, 30), state=Activity.JOINING)])
    assert words.headline(joining) == "M cannot generate: nobody serves any of its layers"


def test_the_state_is_the_documented_json(page: Served):
    """It fits the schema's own dataclasses, and is what as_json says."""
    answer = ask(page, "/api/v1/state")
    assert answer.json == json.loads(json.dumps(as_json(page.source.state())))
    assert TypeAdapter(HealthState).validate_json(answer.body) == page.source.state()


def test_openapi_describes_every_address_of_the_api(page: Served):
    """With shapes, not `anything`; and /api says it to people."""
    document = ask(page, "/openapi.json").json
    assert set(document["paths"]) == {
        "/api/v1/state", "/api/v1/history", "/api/v1/events", "/api/v1/receipts", "/metrics", "/healthz",
    }  # fmt: skip
    assert {"HealthState", "ModelView", "ServerView", "Sample"} <= set(document["components"]["schemas"])
    human = ask(page, "/api").text
    assert all(path in human for path in document["paths"])


def test_an_unchanged_answer_is_not_sent_again(page: Served):
    """Page and state have an ETag; who holds it gets 304, also behind a proxy that weakened it."""
    for path in ("/", "/api/v1/state", "/metrics", "/static/style.css"):
        etag = ask(page, path).headers["etag"]
        again = ask(page, path, if_none_match=f'"other", {etag}')
        assert again.status == 304 and not again.body and again.headers["etag"] == etag
        assert ask(page, path, if_none_match='"other"').status == 200


def test_a_new_snapshot_has_a_new_etag():
    """Otherwise nobody would see it."""
    with served(FakeSource(fresh_state())) as page:
        known = ask(page, "/").headers["etag"]
        page.source.publish(fresh_state(servers=[make_server(0, (0, 10))]))
        page.wait_for("nobody serves layers 10–29")
        assert ask(page, "/", if_none_match=known).status == 200


def test_answers_are_compressed_for_who_takes_it(page: Served):
    """And only for them."""
    small = ask(page, "/", accept_encoding="br, gzip;q=0.5")
    assert small.headers["content-encoding"] == "gzip" and small.headers["vary"] == "accept-encoding"
    for other in ("identity", "gzip;q=0", "gzipped"):
        assert "content-encoding" not in ask(page, "/", accept_encoding=other).headers


def test_a_mistake_of_ours_is_admitted_with_all_headers():
    """A source that breaks: no details, and the policy all the same."""
    source = FakeSource(fresh_state())
    with served(source) as page:
        source.history = lambda model, hours: 1 / 0  # type: ignore[method-assign, return-value]
        answer = ask(page, f"/api/v1/history?model={model_hash(0)}")
        assert answer.status == 500 and set(answer.json) == {"error", "what_to_do"}
        assert "division" not in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_history_is_of_the_model_that_was_asked_for(page: Served):
    """An unknown one has none."""
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
    """In the design of the page; for the API in JSON."""
    for path in ("/nothing", "/static/app.py", "/static/%2e%2e/app.py", "/<script>", "/docs", "/redoc"):
        answer = ask(page, path.replace("<", "%3C").replace(">", "%3E"))
        assert answer.status == 404 and "Nothing here" in answer.text and "style.css" in answer.text
    assert ask(page, "/api/v1/nothing").json["error"] == "Nothing here"
    assert ask(page, "/", method="DELETE").status == 405


def test_a_lying_host_header_changes_nothing(page: Served):
    """No address is made from it."""
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
    """That the swarm can't be read doesn't make what is known of it younger."""
    state = fresh_state()
    with served(FakeSource(state)) as page:
        page.source._state = replace(state, fresh=False, detail="no peer answers")
        page.wait_for("no peer answers")


def test_receipts_are_handed_on_as_they_come(page: Served):
    """And what came of them is said."""
    answer = ask(page, "/api/v1/receipts", method="POST", body=b"p2pinfer receipts 1\n")
    assert answer.status == 200 and answer.json == {"taken": 1, "known": 0, "refused": []}
    assert b"".join(page.source.received) == b"p2pinfer receipts 1\n"


def test_what_is_no_bundle_is_refused_with_what_to_do():
    """The source's own words, and a way on."""
    source = FakeSource(fresh_state())
    source.refuse = "that is no bundle"
    with served(source) as page:
        answer = ask(page, "/api/v1/receipts", method="POST", body=b"{}")
        assert answer.status == 400
        assert answer.json["error"] == "that is no bundle" and "owner export" in answer.json["what_to_do"]


def test_too_large_a_bundle_is_refused_whether_it_says_so_or_not(page: Served):
    """By its declared length at once; without one as soon as there is too much."""
    connection = http.client.HTTPConnection("127.0.0.1", page.server.port, timeout=20)
    connection.putrequest("POST", "/api/v1/receipts")
    connection.putheader("Content-Length", str(10**30))
    connection.endheaders()
    assert connection.getresponse().status in (400, 413)
    connection.close()
    connection = http.client.HTTPConnection("127.0.0.1", page.server.port, timeout=20)
    connection.putrequest("POST", "/api/v1/receipts")
    connection.putheader("Content-Length", str(MAX_BUNDLE_BYTES + 1))
    connection.endheaders()
    answer = Answer(connection.getresponse())
    assert answer.status == 413 and "month" in answer.json["what_to_do"]
    connection.close()
    parts = (b"x" * 100_000 for _ in range(MAX_BUNDLE_BYTES // 100_000 + 1))
    assert ask(page, "/api/v1/receipts", method="POST", body=parts).status == 413


class Markup(HTMLParser):
    """Collects what a browser would make of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links |= {
            value or "" for name, value in attrs if name in ("href", "src", "action", "xlink:href")
        }
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def markup_of(text: str) -> Markup:
    """Parse it; every element must end where it should."""
    parser = Markup()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser


def test_hostile_texts_are_texts():
    """No tag, attribute or link comes from a stranger: the page has those of a pleasant one, and no more."""
    state = hostile_state()
    histories = {model.model: make_samples() for model in state.models}
    hostile = markup_of(render_page(state, histories, snapshot_id="x", now=NOW))
    models = [make_model(n, probe=make_probe()) for n in range(14)]
    models[1] = make_model(1, servers=[])
    pleasant = make_state(models, contributions=[make_contribution()])
    usual = markup_of(render_page(pleasant, {model_hash(0): make_samples()}, snapshot_id="x", now=NOW))
    large = markup_of(render_page(large_state(80), {}, snapshot_id="x", now=NOW))
    assert hostile.tags <= usual.tags | large.tags
    assert hostile.attributes <= usual.attributes | large.attributes
    assert not {name for name in hostile.attributes if name.startswith("on") or name == "style"}
    assert {link for link in hostile.links if not link.startswith(("/", "#"))} == set()


def test_a_hostile_swarm_is_served_everywhere():
    """NaN, a billion layers, a megabyte, lone surrogates: every address still answers, in order."""
    with served(FakeSource(hostile_state(), make_samples())) as page:
        text = ask(page, "/").text
        assert len(text) < 2_000_000 and "&lt;script&gt;" in text
        assert "\x1b" not in text and "\u202e" not in text
        state = ask(page, "/api/v1/state")
        assert state.status == 200 and state.json["fresh"] is False
        assert ask(page, "/metrics").status == 200
        assert ask(page, "/healthz").status == 503


def test_two_thousand_servers_are_rendered_within_a_second():
    """All of them are in the table; the picture counts instead of drawing each."""
    state = large_state(2000)
    render_page(make_state(), {}, snapshot_id="x", now=NOW)  # templates are compiled once
    started = time.process_time()
    text = render_page(state, {}, snapshot_id="x", now=NOW)
    assert time.process_time() - started < 1.0
    assert text.count("<tr data-key") == 2000 + len(state.contributions[:50])
    assert 'class="brick"' not in text


def test_templates_escape_everything():
    """No template says that a text is safe, and nothing stands inline that the policy would forbid."""
    folder = Path(security.__file__).parent
    for path in (folder / "templates").iterdir():
        text = path.read_text()
        for forbidden in (
            "|safe",
            "| safe",
            "Markup",
            "autoescape",
            "style=",
            "onclick",
            "<style",
            "http://",
        ):
            assert forbidden not in text.replace("http://www.w3.org/2000/svg", ""), (path.name, forbidden)
    scripts = "".join(path.read_text() for path in (folder / "static").glob("*.js"))
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "DOMParser"):
        assert forbidden not in scripts
    assert len(scripts.encode()) < 10_240


def test_listeners_hear_of_new_snapshots_and_that_the_page_is_there():
    """The id of the newest at once, of each as it comes, and a heartbeat between."""
    with served(FakeSource(fresh_state()), heartbeat_seconds=0.3) as page:
        connection, lines = _listen(page)
        first = next(line for line in lines if line.startswith("data:"))
        page.source.publish(fresh_state(servers=[]))
        second = next(line for line in lines if line.startswith("data:"))
        assert json.loads(first[5:])["id"] != json.loads(second[5:])["id"]
        assert any(line.startswith(":") for line in lines)
        connection.close()


def test_too_many_listeners_are_told_to_poll():
    """503 with Retry-After; a place is free again when somebody leaves."""
    with served(FakeSource(fresh_state()), most_listeners=2) as page:
        connections = [_listen(page)[0] for _ in range(2)]
        refused = ask(page, "/api/v1/events")
        assert refused.status == 503 and int(refused.headers["retry-after"]) > 0
        assert ask(page, "/api/v1/events", method="HEAD").status == 503
        connections[0].close()
        deadline = time.monotonic() + 10
        while page.server.config.app.state.events.is_full:
            assert time.monotonic() < deadline
        connections[1].close()


def test_the_page_ends_though_somebody_listens():
    """Streams end cleanly first, so that ending doesn't wait for them."""
    with served(FakeSource(fresh_state())) as page:
        connection, lines = _listen(page)
        next(lines)
        started = time.monotonic()
        page.stop()
        assert time.monotonic() - started < 3
        list(lines)  # ends without an error: the last chunk came
        connection.close()


def _listen(page: Served) -> tuple[http.client.HTTPConnection, Iterator[str]]:
    connection = http.client.HTTPConnection("127.0.0.1", page.server.port, timeout=20)
    connection.request("GET", "/api/v1/events")
    response = connection.getresponse()
    assert response.status == 200 and response.headers["content-type"].startswith("text/event-stream")
    return connection, (line.decode() for line in iter(response.readline, b""))
