"""A snapshot as the page. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from p2pinfer.health.snapshot import sentences, words
from p2pinfer.health.snapshot.state import Answer, HealthState, ModelView, Sample
from p2pinfer.health.web.rendering.join import join_part
from p2pinfer.health.web.rendering.model import model_part
from p2pinfer.health.web.rendering.rows import ContributorRow, contributor_row
from p2pinfer.health.web.rendering.templates import template

HISTORY_HOURS = 24.0

_MOST_MODELS = 12
"""Models shown in full. Anybody can announce a model, and the page must stay short."""

_MOST_OTHERS = 200
_MOST_CONTRIBUTORS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherPart:
    """A model with one line only."""

    answer: Answer
    badge: str
    headline: str


def render_page(
    state: HealthState, histories: Mapping[str, Sequence[Sample]], *, snapshot_id: str, now: float
) -> str:
    """The whole page. About 100 ms for 2,000 servers: call it outside the event loop."""
    models = shown_models(state)
    others = state.models[len(models) :]
    is_fresh = state.fresh and words.age_seconds(state, now) <= words.OLD_SECONDS
    return template("page.html").render(
        snapshot_id=snapshot_id,
        version=words.plain(state.version, 24),
        summary=sentences.summary(state.models, is_fresh=is_fresh),
        is_fresh=is_fresh,
        trouble=words.plain(state.detail, 200),
        as_of=words.moment(state.generated_at),
        models=[
            model_part(index, model, histories.get(model.model, ()), state.generated_at, is_fresh=is_fresh)
            for index, model in enumerate(models)
        ],
        others=[
            OtherPart(
                answer=sentences.shown_answer(model),
                badge=words.answer_word(
                    model.answer, is_fresh=is_fresh, is_sample=model.population.is_sample
                ),
                headline=sentences.headline(model, is_fresh=is_fresh),
            )
            for model in others[:_MOST_OTHERS]
        ],
        more_others=max(0, len(others) - _MOST_OTHERS),
        contributors=_contributors(state),
        more_contributors=max(0, len(state.contributions) - _MOST_CONTRIBUTORS),
        join=join_part(state),
    )


def shown_models(state: HealthState) -> tuple[ModelView, ...]:
    """The models that are shown in full: the first of the snapshot."""
    return state.models[:_MOST_MODELS]


def _contributors(state: HealthState) -> list[ContributorRow]:
    best = state.contributions[:_MOST_CONTRIBUTORS]
    return [contributor_row(rank, view) for rank, view in enumerate(best, start=1)]
