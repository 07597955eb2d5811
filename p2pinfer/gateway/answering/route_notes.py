"""What a client is told of the servers that compute its answer: in headers, and in chunks that ask for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from p2pinfer.client.texts.request import RouteView
from p2pinfer.openai_api.answering.choices import Choices

_LEAST_SECONDS = 0.5
"""Between two notes."""


def route_headers(choices: Choices, *, has_ended: bool) -> dict[str, str]:
    """The headers of an answer, with what is known by now."""
    view = _view(choices)
    headers = {"x-p2pinfer-cached-tokens": str(choices.usage().cached_tokens)}
    if view.hops:
        headers["x-p2pinfer-route"] = ", ".join(
            f"{hop.peer_id};layers={hop.layers}"
            + ("" if hop.ms_per_token is None else f";ms={hop.ms_per_token:.2f}")
            + ("" if hop.way is None else f";way={hop.way}")
            for hop in view.hops
        )
    if has_ended:
        headers["x-p2pinfer-replaced-hops"] = str(sum(len(event.left) for event in view.events))
    return headers


class RouteNotes:
    """The notes of one answer: the first, one whenever something has changed, and the last."""

    def __init__(self, choices: Choices, now: Callable[[], float] = time.monotonic) -> None:
        self._choices = choices
        self._now = now
        self._began: float | None = None  # when the first token was there
        self._first_tokens = 0
        self._told_at = float("-inf")
        self._told: RouteView | None = None

    def due(self) -> dict[str, Any] | None:
        """A note if there is news and the last one was a while ago."""
        now = self._now()
        if now - self._told_at < _LEAST_SECONDS:
            return None
        view = _view(self._choices)
        if view == self._told:
            return None
        return self._note(view, now)

    def last(self) -> dict[str, Any]:
        """The note at the end."""
        return self._note(_view(self._choices), self._now())

    def _note(self, view: RouteView, now: float) -> dict[str, Any]:
        self._told, self._told_at = view, now
        usage = self._choices.usage()
        if self._began is None:
            self._began, self._first_tokens = now, usage.completion_tokens
        seconds = now - self._began
        made = usage.completion_tokens - self._first_tokens
        return {
            "hops": [
                {
                    "peer": hop.peer_id,
                    "first_layer": hop.layers.start,
                    "end_layer": hop.layers.end,
                    "ms_per_token": None if hop.ms_per_token is None else round(hop.ms_per_token, 3),
                    "way": hop.way,
                }
                for hop in view.hops
            ],
            "events": [
                {
                    "left": list(event.left),
                    "joined": list(event.joined),
                    "seconds": round(event.seconds, 3),
                    "after_tokens": event.after_tokens,
                }
                for event in view.events
            ],
            "tokens_per_second": round(made / seconds, 2) if made and seconds > 0 else None,
            "cached_tokens": usage.cached_tokens,
        }


def _view(choices: Choices) -> RouteView:
    """The route of the first answer: the others may have routes of their own."""
    return choices.texts[0].route()
