"""How much a network may ask of the page: more than a thousand readers need."""

from __future__ import annotations

import asyncio
import math

from starlette.types import ASGIApp, Receive, Scope, Send

from p2pinfer.fairness.rates import RateBound, Rates
from p2pinfer.http.answers import json_answer
from p2pinfer.http.security import HEADERS
from p2pinfer.http.sources import guest_of_request

REQUESTS = RateBound(in_all=1e9, per_source=3_000, per_key=1e9, seconds=10.0)
"""What lies in memory costs one, what is made for a request ten: 300 a second, or 30. Listeners
have a bound of their own (`events.py`); to begin takes as long as two pages, and after a restart all of an
office begin at once."""

_COSTS = {"/api/v1/history": 10.0, "/api/v1/receipts": 10.0, "/api/v1/events": 2.0}


class Demand:
    """Refuses requests of a source that asks too often."""

    def __init__(self, app: ASGIApp, *, bound: RateBound = REQUESTS) -> None:
        self._app = app
        self._rates = Rates(bound)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http":
            wait_seconds = self._rates.use(
                guest_of_request(scope), asyncio.get_running_loop().time(), _COSTS.get(scope["path"], 1.0)
            )
            if wait_seconds > 0:
                answer = json_answer(
                    {
                        "error": "Your network asks this page too often.",
                        "what_to_do": "Wait as long as Retry-After says. /api/v1/events tells what is new.",
                    },
                    status=429,
                    headers={"retry-after": str(math.ceil(min(wait_seconds, 60.0))), **HEADERS},
                )
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)
