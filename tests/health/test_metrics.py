"""Prometheus can read the metrics, whatever names servers choose."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from p2pinfer.health.metrics import metrics_text
from p2pinfer.health.snapshot.state import Activity, Answer, HealthState
from p2pinfer.types import Way
from tests.health.states import (
    HOSTILE_TEXTS,
    NOW,
    hostile_state,
    large_state,
    make_model,
    make_probe,
    make_server,
    make_state,
    model_hash,
)

MODEL = model_hash(0)[:12]
Series = tuple[str, tuple[tuple[str, str], ...]]


def parsed(state: HealthState) -> dict[Series, float]:
    """Every series and its value. A series that is there twice is a mistake that Prometheus refuses."""
    body, _ = metrics_text(state)
    samples = [
        ((sample.name, tuple(sorted(sample.labels.items()))), sample.value)
        for family in text_string_to_metric_families(body.decode("utf-8"))
        for sample in family.samples
    ]
    assert max(Counter(series for series, _ in samples).values()) == 1
    return dict(samples)


def test_the_figures_of_a_model():
    servers = [
        make_server(0, (0, 20), queue_depth=2),
        make_server(1, (10, 25)),
        make_server(2, (0, 30), state=Activity.JOINING),
    ]
    model = make_model(servers=servers, probe=make_probe())
    values = parsed(make_state([model]))

    def of_model(name: str) -> float | None:
        return values.get((f"p2pinfer_{name}", (("model", MODEL),)))

    assert values["p2pinfer_model_can_generate", (("model", MODEL), ("name", model.name))] == 0.0
    assert values["p2pinfer_servers", (("model", MODEL), ("state", "serving"))] == 2.0
    assert values["p2pinfer_servers", (("model", MODEL), ("state", "joining"))] == 1.0
    assert values["p2pinfer_servers", (("model", MODEL), ("state", "draining"))] == 0.0
    assert of_model("layers_missing") == 5.0
    assert of_model("layer_replicas_min") == 0.0
    assert of_model("model_layers") == 30.0
    assert of_model("queued_steps") == 2.0
    assert of_model("swarm_tokens_per_second") is None
    assert of_model("probe_ok") == 1.0
    assert of_model("probe_first_token_seconds") == 0.42
    assert of_model("probe_timestamp_seconds") == NOW - 20
    assert values["p2pinfer_snapshot_timestamp_seconds", ()] == NOW
    assert values["p2pinfer_page_info", (("version", "0.1.0"),)] == 1.0


def test_servers_are_counted_by_the_way_on_which_they_were_reached():
    ways = [Way.DIRECT, Way.PUNCHED, Way.PUNCHED, None]
    servers = [make_server(number, (0, 30), way=way, is_relay=not number) for number, way in enumerate(ways)]
    values = parsed(make_state([make_model(servers=servers)]))

    counted = {
        dict(labels)["way"]: value
        for (name, labels), value in values.items()
        if name == "p2pinfer_servers_reached"
    }
    assert counted == {
        "direct": 1.0,
        "mapped": 0.0,
        "tunnel": 0.0,
        "punched": 2.0,
        "relayed": 0.0,
        "unknown": 1.0,
    }
    assert values["p2pinfer_relays", (("model", MODEL),)] == 1.0


@pytest.mark.parametrize(
    ("answer", "works", "thin"), [(Answer.YES, 1.0, 0.0), (Answer.THIN, 1.0, 1.0), (Answer.NO, 0.0, 0.0)]
)
def test_an_alert_can_tell_thin_from_gone(answer: Answer, works: float, thin: float):
    """Two separate gauges."""
    model = make_model(answer=answer)
    values = parsed(make_state([model]))

    assert values["p2pinfer_model_can_generate", (("model", MODEL), ("name", model.name))] == works
    assert values["p2pinfer_model_thin", (("model", MODEL),)] == thin


def test_what_is_not_known_has_no_series():
    """Zero would be a claim."""
    names = {name for name, _ in parsed(make_state())}

    assert "p2pinfer_swarm_tokens_per_second" in names
    assert not any(name.startswith("p2pinfer_probe") for name in names)


def test_free_cache_is_counted_in_tokens_times_layers():
    """A server announces the tokens that fit into each of its layers."""
    servers = [make_server(0, (0, 10), free_cache_tokens=100), make_server(1, (10, 30), free_cache_tokens=7)]
    values = parsed(make_state(servers=servers))

    [value] = [value for (name, _), value in values.items() if name == "p2pinfer_free_cache_layer_tokens"]
    assert value == 10 * 100 + 20 * 7


def test_the_content_type_is_what_prometheus_expects():
    """The text format, with its version."""
    assert metrics_text(make_state())[1] == "text/plain; version=0.0.4; charset=utf-8"


@pytest.mark.parametrize(
    "state",
    [
        hostile_state(),
        large_state(2000),
        make_state([make_model(number) for number in range(1000)]),
        make_state([make_model()] * 100),
    ],
    ids=["hostile", "large", "many models", "the same again and again"],
)
def test_there_are_few_series_with_short_labels(state: HealthState):
    """No series per server, at most 64 models, and valid text for other tools."""
    values = parsed(state)

    assert len(values) <= 64 * 24 + 4
    for _, labels in values:
        assert all(len(value) <= 64 and value.isprintable() for _, value in labels)


texts = st.sampled_from(HOSTILE_TEXTS) | st.text(max_size=80)
numbers = st.none() | st.floats()


@given(
    st.lists(st.tuples(texts, texts, numbers, st.integers(), st.sampled_from(list(Answer))), max_size=5),
    numbers,
)
@settings(max_examples=80)
def test_any_state_can_be_parsed(
    models: list[tuple[str, str, float | None, int, Answer]], generated_at: float | None
):
    """Names with quotes, backslashes and line breaks, the same name twice, impossible numbers."""
    views = []
    for number, (name, version, value, count, answer) in enumerate(models):
        server = make_server(public_name=name, version=version, queue_depth=count, free_cache_tokens=count)
        probe = make_probe(at=value or 0.0, detail=name, first_token_seconds=value, tokens_per_second=value)
        view = make_model(
            number,
            name=name,
            servers=[server],
            answer=answer,
            best_route_tokens_per_second=value,
            swarm_tokens_per_second=value,
            probe=probe,
        )
        views.append(view)

    assert parsed(make_state(views, generated_at=generated_at or 0.0, version=models[0][0] if models else ""))
