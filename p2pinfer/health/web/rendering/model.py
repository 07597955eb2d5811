"""One model of the page, ready for the template. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from p2pinfer.health.snapshot import words
from p2pinfer.health.snapshot.state import Answer, ModelView, Sample
from p2pinfer.health.web.rendering.picture import Picture, picture_of
from p2pinfer.health.web.rendering.plots import Course, course_of
from p2pinfer.health.web.rendering.rows import ServerRow, server_row

_MOST_ROUTE = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class HopPart:
    """One server of a route."""

    name: str  # empty: the server has none, or is gone
    short_id: str
    layers: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePart:
    """The last probe."""

    works: bool
    sentence: str
    first_token: str
    rate: str
    at: words.Moment | None
    route: tuple[HopPart, ...]
    has_more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPart:
    """One model, ready for the template."""

    anchor: str
    name: str
    hash: str
    answer: Answer
    badge: str
    headline: str
    explanation: str
    num_layers: str
    best_route: str
    swarm: str
    serving: str
    weakest: str
    probe: ProbePart | None
    picture: Picture | None
    course: Course | None
    servers: tuple[ServerRow, ...]


def model_part(index: int, model: ModelView, history: Sequence[Sample], now: float) -> ModelPart:
    """The `index`-th model of the page at `now`, Unix seconds."""
    serving = sum(server.state == "serving" for server in model.servers)
    weakest = min((stretch.replicas for stretch in model.coverage), default=0)
    return ModelPart(
        anchor=f"model-{index}",
        name=words.model_name(model),
        hash=words.plain(model.model, 64),
        answer=model.answer,
        badge=words.answer_word(model.answer),
        headline=words.headline(model),
        explanation=words.explanation(model),
        num_layers=words.count(model.num_layers),
        best_route=words.rate(model.best_route_tokens_per_second),
        swarm=words.rate(model.swarm_tokens_per_second),
        serving=words.count(serving),
        weakest=words.count(max(0, weakest)),
        probe=_probe_part(model),
        picture=picture_of(model),
        course=course_of(history, now),
        servers=tuple(map(server_row, model.servers)),
    )


def _probe_part(model: ModelView) -> ProbePart | None:
    if (probe := model.probe) is None:
        return None
    names = {server.short_id: server.public_name for server in model.servers}
    return ProbePart(
        works=probe.works,
        sentence=words.probe_sentence(probe),
        first_token=words.seconds(probe.first_token_seconds),
        rate=words.rate(probe.tokens_per_second),
        at=words.moment(probe.at),
        route=tuple(
            HopPart(
                name=words.plain(names.get(peer, ""), 40),
                short_id=words.plain(peer, 12),
                layers=words.layers(start, end),
            )
            for peer, start, end in probe.route[:_MOST_ROUTE]
        ),
        has_more=len(probe.route) > _MOST_ROUTE,
    )
