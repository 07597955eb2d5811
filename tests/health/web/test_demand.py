"""How much a network may ask of the page."""

from __future__ import annotations

from collections import Counter

from p2pinfer.health.web.demand import Demand
from p2pinfer.health.web.events import MOST_LISTENERS


async def statuses(paths: list[str]) -> Counter[int]:
    """What one network gets that asks for all of them at once."""
    seen: Counter[int] = Counter()

    async def page(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        if message["type"] == "http.response.start":
            seen[message["status"]] += 1

    demand = Demand(page)
    for path in paths:
        scope = {"type": "http", "method": "GET", "path": path, "headers": [], "client": ("192.0.2.7", 1)}
        await demand(scope, receive, send)
    return seen


async def test_as_many_visitors_as_may_listen_come_from_one_network_at_once():
    """An office, or everybody behind a proxy that the page wasn't told of, after the page was restarted."""
    visit = ["/", "/static/style.css", "/static/page.js", "/static/favicon.svg", "/api/v1/events"]
    assert await statuses(visit * MOST_LISTENERS) == {200: len(visit) * MOST_LISTENERS}


async def test_what_is_made_for_a_request_is_refused_sooner():
    seen = await statuses(["/api/v1/history"] * 400)
    assert seen[200] < 310 and seen[429] > 90
