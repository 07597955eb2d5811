"""Snapshots as HTML. Everything goes through templates that escape; no text is ever marked as safe."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from p2pinfer.health.snapshot import words
from p2pinfer.health.snapshot.state import Answer, HealthState, ModelView, Sample
from p2pinfer.health.web.coverage import Picture, picture_of
from p2pinfer.health.web.plots import Course, course_of
from p2pinfer.health.web.rows import ContributorRow, ServerRow, contributor_row, server_row

HISTORY_HOURS = 24.0

_MOST_MODELS = 12
"""So many are shown in full; anybody can announce a model, and the page must stay short."""

_MOST_OTHERS = 200
_MOST_CONTRIBUTORS = 50
_MOST_ROUTE = 12
_MOST_ADDRESSES = 4

_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HopPart:
    """One server of a route."""

    name: str  # empty: it has none, or is gone
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


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherPart:
    """A model that isn't shown in full."""

    answer: Answer
    badge: str
    headline: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinPart:
    """How to join, as commands."""

    server: str
    client: str
    owner: str


def render_page(
    state: HealthState, histories: Mapping[str, Sequence[Sample]], *, snapshot_id: str, now: float
) -> str:
    """The whole page. Takes some 100 ms for 2,000 servers: not for the event loop."""
    models = shown_models(state)
    others = state.models[len(models) :]
    is_fresh = state.fresh and words.age_seconds(state, now) <= words.OLD_SECONDS
    return _environment.get_template("page.html").render(
        snapshot_id=snapshot_id,
        version=words.plain(state.version, 24),
        summary=words.summary(state.models, is_fresh=is_fresh),
        is_fresh=is_fresh,
        trouble=words.plain(state.detail, 200),
        as_of=words.moment(state.generated_at),
        models=[
            _model_part(index, model, histories.get(model.model, ()), state.generated_at)
            for index, model in enumerate(models)
        ],
        others=[
            OtherPart(
                answer=model.answer, badge=words.answer_word(model.answer), headline=words.headline(model)
            )
            for model in others[:_MOST_OTHERS]
        ],
        more_others=max(0, len(others) - _MOST_OTHERS),
        contributors=_contributors(state),
        more_contributors=max(0, len(state.contributions) - _MOST_CONTRIBUTORS),
        join=_join_part(state),
    )


def shown_models(state: HealthState) -> tuple[ModelView, ...]:
    """Those that are shown in full: as the snapshot has them, the first."""
    return state.models[:_MOST_MODELS]


def render_problem(*, title: str, detail: str) -> str:
    """A page for what went wrong."""
    return _environment.get_template("problem.html").render(title=title, detail=detail)


def render_api(openapi: Mapping[str, Any]) -> str:
    """What the API offers, for people: FastAPI's own page for that would load its scripts from elsewhere."""
    operations = [
        {
            "method": method.upper(),
            "path": path,
            "summary": operation.get("summary", ""),
            "description": operation.get("description", ""),
            "parameters": operation.get("parameters", []),
            "answers": {
                status: answer.get("description", "")
                for status, answer in operation.get("responses", {}).items()
            },
        }
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = [
        {
            "name": name,
            "description": schema.get("description", ""),
            "fields": [
                (field, _type_word(rules), field in schema.get("required", ()))
                for field, rules in schema.get("properties", {}).items()
            ],
        }
        for name, schema in openapi.get("components", {}).get("schemas", {}).items()
        if schema.get("properties")
    ]
    return _environment.get_template("api.html").render(operations=operations, schemas=schemas)


def _model_part(index: int, model: ModelView, history: Sequence[Sample], now: float) -> ModelPart:
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


def _contributors(state: HealthState) -> list[ContributorRow]:
    best = state.contributions[:_MOST_CONTRIBUTORS]
    return [contributor_row(rank, view) for rank, view in enumerate(best, start=1)]


def _join_part(state: HealthState) -> JoinPart:
    """MODEL stays a word to be replaced: a model's name is a stranger's, and no part of a command."""
    addresses = [words.plain(address, 400) for address in state.join_addresses[:_MOST_ADDRESSES]]
    shell = " ".join(map(shlex.quote, addresses)) or "ADDRESS"
    listed = ", ".join(map(repr, addresses or ["ADDRESS"]))
    return JoinPart(
        owner="python -m p2pinfer.owner init --for home",
        server=f"python -m p2pinfer.server MODEL --initial-peers {shell}",
        client=(
            "from p2pinfer import AutoDistributedModelForCausalLM\n\n"
            "model = AutoDistributedModelForCausalLM.from_pretrained(\n"
            f'    "MODEL", initial_peers=[{listed}]\n'
            ")"
        ),
    )


def _type_word(rules: Mapping[str, Any]) -> str:
    """What a JSON schema takes, in a few words."""
    read: Callable[[Mapping[str, Any]], str] = _type_word
    if "$ref" in rules:
        return str(rules["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in rules:
        return " or ".join(map(read, rules["anyOf"]))
    if rules.get("type") == "array":
        if "prefixItems" in rules:
            return f"[{', '.join(map(read, rules['prefixItems']))}]"
        return f"list of {read(rules.get('items', {}))}"
    return str(rules.get("type", "anything"))
