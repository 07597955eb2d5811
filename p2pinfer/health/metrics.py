"""The state for Prometheus, in its text format.

Labels are few and short: a model's label is the first twelve digits of its hash, one series has its name, and
no series is for a single server. So there are at most about 1,700 series, whatever names servers choose. An
unknown value has no sample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from p2pinfer.health.snapshot.estimates import weakest
from p2pinfer.health.snapshot.plain import (
    LATEST_TIME,
    MOST_TOKENS_PER_SECOND,
    clean_count,
    clean_number,
    clean_text,
)
from p2pinfer.health.snapshot.state import Activity, Answer, HealthState, ModelView, ServerView
from p2pinfer.types import Way

MAX_MODELS = 64

_HASH_CHARACTERS = 12
_MOST = 2**53


def metrics_text(state: HealthState) -> tuple[bytes, str]:
    """The body and its content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(state))
    return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4


class _Snapshot(Collector):
    """One state as a collector of the library."""

    def __init__(self, state: HealthState) -> None:
        self._state = state

    def collect(self) -> Iterable[Metric]:
        state = self._state
        yield InfoMetricFamily(
            "p2pinfer_page", "The page's own software.", value={"version": clean_text(state.version)}
        )
        # A time, because an age would be right at one moment only. An alert computes time() minus this.
        yield _gauge(
            "p2pinfer_snapshot_timestamp_seconds",
            "When the swarm was last read, Unix seconds.",
            clean_number(state.generated_at, 0.0, LATEST_TIME),
        )
        yield _gauge("p2pinfer_snapshot_fresh", "1 if the swarm can be read.", float(bool(state.fresh)))
        yield _gauge("p2pinfer_models", "Models in the swarm.", float(len(state.models)))
        yield from _model_metrics(_distinct(state.models))


def _distinct(models: Iterable[ModelView]) -> dict[str, ModelView]:
    """Models by label. Prometheus refuses an answer with the same labels twice."""
    distinct: dict[str, ModelView] = {}
    for model in models:
        distinct.setdefault(clean_text(model.model, _HASH_CHARACTERS + 1)[:_HASH_CHARACTERS], model)
        if len(distinct) == MAX_MODELS:
            break
    return distinct


def _model_metrics(models: dict[str, ModelView]) -> Iterator[Metric]:
    works = GaugeMetricFamily(
        "p2pinfer_model_can_generate",
        "1 if servers of one numerics class hold all layers. Its servers choose the name.",
        labels=["model", "name"],
    )
    servers = GaugeMetricFamily(
        "p2pinfer_servers", "Servers of a model, by the state that they claim.", labels=["model", "state"]
    )
    reached = GaugeMetricFamily(
        "p2pinfer_servers_reached",
        "Servers of a model, by the way on which this page has reached them.",
        labels=["model", "way"],
    )
    for label, model in models.items():
        works.add_metric([label, clean_text(model.name)], float(model.answer is not Answer.NO))
        counts = Counter(server.state for server in model.servers)
        for activity in Activity:
            servers.add_metric([label, activity.value], counts[activity])
        ways = Counter(server.way for server in model.servers)
        for way in (*Way, None):
            reached.add_metric([label, way or "unknown"], ways[way])
    yield works
    yield servers
    yield reached
    for name, about, values in _FIGURES:
        family = GaugeMetricFamily(f"p2pinfer_{name}", about, labels=["model"])
        for label, model in models.items():
            value = values(model)
            if value is not None:
                family.add_metric([label], value)
        yield family


def _gauge(name: str, about: str, value: float | None) -> Metric:
    family = GaugeMetricFamily(name, about)
    if value is not None:
        family.add_metric([], value)
    return family


def _rate(value: float | None) -> float | None:
    return clean_number(value, 0.0, 1e12)


def _missing_layers(model: ModelView) -> float:
    return float(sum(clean_count(end - start, _MOST) for start, end in model.missing))


def _free_layer_tokens(server: ServerView) -> int:
    """A server's free tokens are cached in all of its layers."""
    return clean_count(
        clean_count(server.free_cache_tokens, _MOST) * max(0, server.end - server.start), _MOST
    )


def _probe_ok(model: ModelView) -> float | None:
    return float(bool(model.probe.works)) if model.probe else None


def _probe_at(model: ModelView) -> float | None:
    return clean_number(model.probe.at, 0.0, LATEST_TIME) if model.probe else None


def _first_token(model: ModelView) -> float | None:
    return clean_number(model.probe.first_token_seconds, 0.0, 86_400.0) if model.probe else None


def _probe_rate(model: ModelView) -> float | None:
    return clean_number(model.probe.tokens_per_second, 0.0, MOST_TOKENS_PER_SECOND) if model.probe else None


_FIGURES = (
    (
        "model_servers_announced",
        "Servers of a model: counted, or of a large swarm estimated.",
        lambda model: clean_number(float(model.population.about), 0.0, 1e12),
    ),
    (
        "model_is_sample",
        "1 if only a sample of the model's servers was read: its other figures are those of the sample.",
        lambda model: float(model.population.is_sample),
    ),
    (
        "model_thin",
        "1 if it can generate but depends on one server.",
        lambda model: float(model.answer is Answer.THIN),
    ),
    ("model_layers", "Layers of the whole model.", lambda model: float(clean_count(model.num_layers, _MOST))),
    ("layers_missing", "Layers without a server.", _missing_layers),
    (
        "layer_replicas_min",
        "Servers of the weakest layer.",
        lambda model: float(clean_count(weakest(model.coverage), _MOST)),
    ),
    (
        "best_route_tokens_per_second",
        "Of one stream, from the speeds that servers claim, without the network.",
        lambda model: _rate(model.best_route_tokens_per_second),
    ),
    (
        "swarm_tokens_per_second",
        "Of many streams together: the limit of the weakest layer, from the speeds that servers claim.",
        lambda model: _rate(model.swarm_tokens_per_second),
    ),
    (
        "queued_steps",
        "Steps in the queues of its servers.",
        lambda model: float(sum(clean_count(server.queue_depth, _MOST) for server in model.servers)),
    ),
    (
        "free_cache_layer_tokens",
        "Free cache of its servers: each server's tokens, times its layers.",
        lambda model: float(sum(map(_free_layer_tokens, model.servers))),
    ),
    (
        "relays",
        "Servers that say that they pass on what others send each other.",
        lambda model: float(sum(bool(server.is_relay) for server in model.servers)),
    ),
    ("probe_ok", "1 if the last probe by this page worked.", _probe_ok),
    ("probe_timestamp_seconds", "End of the last probe, Unix seconds.", _probe_at),
    ("probe_first_token_seconds", "Time to the first token of the last probe.", _first_token),
    ("probe_tokens_per_second", "Tokens per second of the last probe, after the first token.", _probe_rate),
)
