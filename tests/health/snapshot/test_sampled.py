"""Of a large swarm a page shows a sample, says so, and tells nobody's place."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from p2pinfer.health.json_form import as_json
from p2pinfer.health.metrics import metrics_text
from p2pinfer.health.snapshot import sentences, words
from p2pinfer.health.snapshot.report import SwarmReading, make_sample, make_state
from p2pinfer.health.snapshot.sampled import KEY_SECONDS, CellLabels, SampleSize
from p2pinfer.health.snapshot.state import Answer, HealthState
from p2pinfer.health.snapshot.wanted import wanted_layers
from p2pinfer.health.terminal import as_text
from p2pinfer.health.web.rendering.page import render_page
from p2pinfer.swarm.cells.estimate import Size
from p2pinfer.swarm.coordinates.quantized import Quantized
from p2pinfer.swarm.discovery.sampling import Sample
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.swarm.records.listing import ModelListing
from p2pinfer.types import PeerId, Span, short_id
from tests.health.samples import sampled, whole
from tests.health.states import NOW, make_probe, make_samples, peer_id

LISTING = ModelListing(model="ab" * 32, model_name="large", num_layers=4)


ALL = Span(0, 4)


def server(number: int, layers: Span = ALL, **changes: Any) -> Announcement:
    fields: dict[str, Any] = {
        "peer_id": PeerId(peer_id(number)),
        "model": LISTING.model,
        "model_name": LISTING.model_name,
        "num_layers": 4,
        "layers": layers,
        "state": ServerState.SERVING,
        "numerics": "n-1",
        "public_name": f"Car {number}",
        "region": "DE",
        "cell": Quantized(x=101, y=87, height=13),
        "announced_at": NOW,
        "expires_at": NOW + 60,
    }
    return Announcement(**(fields | changes))


def state_of(sample: Sample, labels: CellLabels | None = None, **changes: Any) -> HealthState:
    size = (labels or CellLabels(lambda: NOW)).without_places(LISTING.model, sample)
    fields: dict[str, Any] = {
        "first_seen": {},
        "probes": {},
        "contributions": (),
        "generated_at": NOW,
        "fresh": True,
        "detail": "",
        "version": "0",
        "join_addresses": (),
    }
    reading = SwarmReading(models={LISTING: sample.servers}, samples={LISTING.model: size})
    return make_state(reading, **(fields | changes))


def everything(state: HealthState) -> str:
    """All that a page tells of a state."""
    histories = {model.model: make_samples() for model in state.models}
    page = render_page(state, histories, snapshot_id="x", now=NOW)
    return page + json.dumps(as_json(state)) + as_text(state, width=200) + metrics_text(state)[0].decode()


EVERYWHERE, NEAR = [server(number) for number in range(3)], [server(number) for number in range(3, 8)]
LARGE = sampled(EVERYWHERE, NEAR)


def labels_of(size: SampleSize) -> list[str]:
    return [cell.label for cell in size.cells]


def test_a_label_lasts_a_day_and_says_nothing():
    now = NOW
    labels = CellLabels(lambda: now)
    first = labels_of(labels.without_places("a", LARGE))
    now += KEY_SECONDS - 1
    assert labels_of(labels.without_places("a", LARGE)) == first
    others = [
        labels_of(labels.without_places("b", LARGE)),
        labels_of(CellLabels(lambda: now).without_places("a", LARGE)),
    ]
    now += 1
    others.append(labels_of(labels.without_places("a", LARGE)))
    now -= 2 * KEY_SECONDS  # a clock that was set back
    others.append(labels_of(labels.without_places("a", LARGE)))

    assert len({label for some in [first, *others] for label in some}) == 5 * 3
    assert all(len(label) == 6 for label in first)


def test_two_cells_that_lie_beside_each_other_have_labels_that_have_nothing_in_common():
    labels = CellLabels(lambda: NOW, new_key=lambda count: bytes(count))
    size = labels.without_places("a", replace(LARGE, cells={f"301{n}": LARGE.size for n in range(4)}))
    assert len({label[:2] for label in labels_of(size)}) == 4


def test_who_was_found_near_a_place_counts_and_is_not_named():
    [model] = state_of(LARGE).models

    assert {one.public_name for one in model.servers} == {"Car 0", "Car 1", "Car 2"}
    assert model.coverage[0].replicas == model.population.sampled == 8
    text = everything(state_of(LARGE))
    assert all(one.peer_id not in text and short_id(one.peer_id) not in text for one in NEAR)
    assert not any(f"Car {number}" in text for number in range(3, 8))


def test_no_form_of_the_state_has_a_place_or_a_coordinate():
    states = [state_of(LARGE), state_of(whole(EVERYWHERE))]
    for state in states:
        for view in as_json(state)["models"]:  # type: ignore[union-attr]
            assert all(not {"cell", "place", "coordinate"} & one.keys() for one in view["servers"])  # type: ignore
    for one in EVERYWHERE:  # seven digits are where it is
        assert all(one.place[:4] not in name for state in states for name in _labels(state))
        assert all(one.place not in everything(state) for state in states)


def _labels(state: HealthState) -> list[str]:
    return [cell.label for model in state.models for cell in model.population.cells]


def test_the_page_says_that_it_is_a_sample_and_of_how_many():
    state = state_of(LARGE)
    page = render_page(state, {}, snapshot_id="x", now=NOW)

    assert "About 12,000 servers are announced; 9,100 to 17,000 is likely" in page
    assert "those of a sample: 8 servers that answered" in page
    assert "Coverage of the sample" in page and "Servers of the sample" in page
    assert "Whole swarm" not in page and "Cells that were read: 3" in page
    assert "About 12,000 servers are announced" in as_text(state)
    assert make_sample(state.models[0], NOW).servers == 12_300
    assert [cell.about for cell in state.models[0].population.cells] == [12_300, 150, 5]


def test_a_swarm_whose_largest_cell_hides_servers_has_a_number_without_a_bound():
    hidden = replace(LARGE, size=Size(about=300, least=300, most=None))
    state = state_of(replace(hidden, cells={"": hidden.size, "3": Size(about=300, least=300, most=None)}))

    page = render_page(state, {}, snapshot_id="x", now=NOW)
    assert "At least 300 servers are announced. Coverage" in page and "not known" in page
    assert as_json(state)["models"][0]["population"]["most"] is None  # type: ignore
    everything(state)


def test_a_small_swarm_looks_as_before_and_its_number_is_exact():
    state = state_of(whole(EVERYWHERE))
    [model] = state.models

    assert (model.population.about, model.population.is_sample, len(model.servers)) == (3, False, 3)
    text = render_page(state, {}, snapshot_id="x", now=NOW) + as_text(state)
    assert "sample" not in text and "Cells" not in text and "likely" not in text
    assert make_sample(model, NOW).servers == 3


def test_servers_that_do_not_answer_are_no_part_of_the_number_of_a_small_swarm():
    state = make_state(
        SwarmReading(
            models={LISTING: EVERYWHERE[:2]},
            samples={LISTING.model: CellLabels().without_places("a", whole(EVERYWHERE))},
        ),
        first_seen={}, probes={}, contributions=(), generated_at=NOW, fresh=True, detail="", version="0",
        join_addresses=(),
    )  # fmt: skip
    assert state.models[0].population.about == 2


@pytest.mark.parametrize("is_fresh", [True, False], ids=["fresh", "old"])
@pytest.mark.parametrize("layers", [Span(0, 4), Span(0, 2)], ids=["thin", "gap"])
def test_what_a_sample_lacks_may_be_elsewhere(layers: Span, is_fresh: bool):
    [model] = state_of(sampled([server(0, layers)], [])).models

    assert model.answer is (Answer.THIN if layers.end == 4 else Answer.NO)
    said = [
        sentences.headline(model, is_fresh=is_fresh),
        sentences.summary([model], is_fresh=is_fresh),
        words.answer_word(model.answer, is_fresh=is_fresh, is_sample=True),
        wanted_layers(model),
    ]
    assert all("sample" in one for one in said)
    assert not any("cannot" in one for one in said)
    summary = sentences.summary([model, model], is_fresh=is_fresh)
    assert summary.count(", as far as samples tell") == 1


def test_a_sample_that_has_every_layer_twice_works():
    [model] = state_of(LARGE).models
    assert sentences.headline(model) == "large can generate text now"


def test_a_probe_of_a_large_swarm_names_nobody_since_its_route_is_near_the_page():
    probe = make_probe(route=((short_id(peer_id(0)), 0, 2), (short_id(peer_id(5)), 2, 4)))
    large, small = (state_of(one, probes={LISTING.model: probe}) for one in (LARGE, whole(EVERYWHERE)))

    assert large.models[0].probe is not None and small.models[0].probe is not None
    assert [hop[0] for hop in large.models[0].probe.route] == ["", ""]
    assert "a server" in everything(large)
    assert small.models[0].probe.route == probe.route
