"""The HTML of the page: strangers' texts stay texts, and a large swarm takes less than a second."""

from __future__ import annotations

import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

from p2pinfer.health.web.rendering import templates
from p2pinfer.health.web.rendering.page import render_page
from p2pinfer.swarm.reach.claimed import ClaimedReach
from p2pinfer.types import Way
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

VOID = {"meta", "link", "input", "br", "img", "hr"}


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
    """No tag, attribute or link comes from a stranger: a hostile page has only those of a normal page."""
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


def test_the_time_to_render_grows_no_faster_than_the_number_of_servers():
    """The table has all of them; the picture counts servers instead of drawing each."""
    render_page(make_state(), {}, snapshot_id="x", now=NOW)  # templates are compiled once

    def rendered(servers: int) -> tuple[float, str]:
        state, started = large_state(servers), time.process_time()
        text = render_page(state, {}, snapshot_id="x", now=NOW)
        return time.process_time() - started, text

    usual_seconds, _ = min(rendered(500) for _ in range(3))
    seconds, text = min(rendered(2000) for _ in range(3))  # as many tries: a busy machine slows either
    state = large_state(2000)

    assert seconds < 2 * 4 * usual_seconds
    assert text.count("<tr data-key") == 2000 + len(state.contributions[:50])
    assert 'class="brick"' not in text


def test_templates_escape_everything():
    """No template marks a text as safe, or has inline code that the policy would forbid."""
    folder = Path(templates.__file__).parent.parent / "templates"
    for path in folder.iterdir():
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
    scripts = "".join(path.read_text() for path in (folder.parent / "static").glob("*.js"))
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "DOMParser"):
        assert forbidden not in scripts
    assert len(scripts.encode()) < 10_240


def test_a_row_says_how_its_server_is_reached_and_at_which_relays():
    behind = make_server(1, way=Way.PUNCHED, offers=ClaimedReach.RELAYED, relays=("…abc123", "…def456"))
    unknown = make_server(2, way=None, offers=ClaimedReach.RELAYED)
    state = make_state(servers=[make_server(0, is_relay=True), behind, unknown])
    page = render_page(state, {}, snapshot_id="1", now=NOW)
    markup_of(page)

    assert 'direct<span class="under">relays for others</span>' in page
    assert 'punched<span class="under">at …abc123</span><span class="under">at …def456</span>' in page
    assert "relayed?</td>" in page


def test_the_route_of_a_probe_has_the_ways_that_are_not_direct():
    probe = replace(make_probe(), route_ways=(Way.RELAYED, Way.DIRECT))
    page = render_page(make_state(probe=probe), {}, snapshot_id="1", now=NOW)

    assert "0–14, relayed</span>" in page
    assert "15–29</span>" in page
