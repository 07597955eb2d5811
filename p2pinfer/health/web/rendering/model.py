"""One model of the page, ready for the template. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from p2pinfer.health.snapshot import sentences, words
from p2pinfer.health.snapshot.report import make_sample
from p2pinfer.health.snapshot.state import Answer, ModelView, Sample
from p2pinfer.health.snapshot.wanted import wanted_layers
from p2pinfer.health.web.rendering.picture import Picture, picture_of
from p2pinfer.health.web.rendering.plots import Course, course_of
from p2pinfer.health.web.rendering.rows import ServerRow, server_row

_MOST_ROUTE = 12
_MOST_CELLS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class HopPart:
    """One server of a route."""

    name: str  # empty: the server has none, or is gone
    short_id: str
    layers: str
    way: str  # empty: directly, or unknown


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
class CellRow:
    """One cell that was read."""

    label: str
    servers: str
    likely: str  # the range of their number; empty: it is exact, or not known
    is_exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPart:
    """One model, ready for the template."""

    anchor: str
    name: str
    hash: str
    short_hash: str
    answer: Answer
    badge: str
    headline: str
    explanation: str
    wanted: str  # the layers that need help most; empty: none
    best_route: str
    swarm: str
    serving: str
    layers: str  # how many, and the servers of the weakest
    probe: ProbePart | None
    picture: Picture | None
    course: Course | None
    servers: tuple[ServerRow, ...]
    is_sample: bool
    sample_note: str  # empty: all servers were read
    likely: str  # the range of their number; empty: it is exact, or not known
    cells: tuple[CellRow, ...]  # empty: all servers were read


def model_part(
    index: int, model: ModelView, history: Sequence[Sample], now: float, *, is_fresh: bool
) -> ModelPart:
    """The `index`-th model of the page. `now` is the time of its snapshot, Unix seconds.

    Its history ends with the snapshot itself, so that plots and cards show the same figures.
    """
    current = make_sample(model, now)
    samples = [*(sample for sample in history if sample.at < now), current]
    return ModelPart(
        anchor=f"model-{index}",
        name=words.model_name(model),
        hash=words.plain(model.model, 64),
        short_hash=words.plain(model.model, 12),
        answer=sentences.shown_answer(model),
        badge=words.answer_word(model.answer, is_fresh=is_fresh, is_sample=model.population.is_sample),
        headline=sentences.headline(model, is_fresh=is_fresh),
        explanation=sentences.explanation(model, is_fresh=is_fresh),
        wanted=wanted_layers(model) if is_fresh else "",
        best_route=words.rate(model.best_route_tokens_per_second),
        swarm=words.rate(model.swarm_tokens_per_second),
        serving=words.about(model.population) if model.population.is_sample else words.count(current.servers),
        layers=_layers(model, current),
        probe=_probe_part(model),
        picture=picture_of(model),
        course=course_of(samples, now, is_fresh=is_fresh, is_sample=model.population.is_sample),
        servers=tuple(server_row(server, now) for server in model.servers),
        is_sample=model.population.is_sample,
        sample_note=sentences.sample_note(model, is_fresh=is_fresh),
        likely=words.likely(model.population),
        cells=_cells(model),
    )


def _cells(model: ModelView) -> tuple[CellRow, ...]:
    if not model.population.is_sample:
        return ()
    return tuple(
        CellRow(
            label=words.plain(cell.label, 12),
            servers=words.about(cell),
            likely=words.likely(cell),
            is_exact=cell.least == cell.most,
        )
        for cell in model.population.cells[:_MOST_CELLS]
    )


def _layers(model: ModelView, current: Sample) -> str:
    """`30 layers; the weakest has 2 servers`, as the history counts them."""
    layers = words.several(max(0, model.num_layers), "layer")
    if model.answer is Answer.NO and not model.missing:
        return f"{layers}; no numerics class holds all of them"
    if model.num_layers == 1:
        return layers
    return f"{layers}; the weakest has {words.several(current.weakest_replicas, 'server')}"


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
                name=words.plain(names.get(peer, "")) if peer else "a server",
                short_id=peer,
                layers=words.layers(start, end),
                way=way,
            )
            for peer, start, end, way in words.hops_of(probe, _MOST_ROUTE)
        ),
        has_more=len(probe.route) > _MOST_ROUTE,
    )
