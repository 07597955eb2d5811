"""The parts of the page agree: title, cards, strip and histories tell of the same moment."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from html import unescape

import pytest

from p2pinfer.health.json_form import as_json
from p2pinfer.health.snapshot import sentences
from p2pinfer.health.snapshot.state import Activity, Answer, HealthState, ModelView, Sample, Stretch
from p2pinfer.health.snapshot.wanted import wanted_layers
from p2pinfer.health.terminal import as_text
from p2pinfer.health.web.rendering.model import ModelPart, model_part
from p2pinfer.health.web.rendering.page import render_page
from p2pinfer.health.web.rendering.rows import server_row
from tests.health.states import (
    NOW,
    make_contribution,
    make_model,
    make_probe,
    make_samples,
    make_server,
    make_state,
    model_hash,
)

YES = make_model(0, name="yes", servers=[make_server(0), make_server(1)])
THIN = make_model(1, name="thin", servers=[make_server(0)])
NO = make_model(2, name="no", servers=[make_server(0, (0, 20))])


def words_of(state: HealthState, samples: Sequence[Sample] = (), now: float = NOW) -> str:
    """The page as a reader sees it, without tags; titles of the picture included."""
    histories = {model.model: samples for model in state.models}
    text = render_page(state, histories, snapshot_id="x", now=now)
    return re.sub(
        r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", re.sub(r'aria-label="([^"]*)"', r">\1<", text)))
    )


def part_of(model: ModelView, samples: Sequence[Sample] = ()) -> ModelPart:
    return model_part(0, model, samples, NOW, is_fresh=True)


@pytest.mark.parametrize("seconds", [0.5, 30.0, 59.0, 90.0])
def test_histories_end_with_what_the_cards_say(seconds: float):
    """The last sample is up to a minute old, and a server has just gone."""
    past = [
        replace(sample, at=sample.at - seconds, servers=9, weakest_replicas=7) for sample in make_samples()
    ]
    part = part_of(THIN, past)
    assert part.course is not None
    servers, throughput, weakest = part.course.plots
    assert (servers.now, throughput.now, weakest.now) == (part.serving, part.swarm, "1")
    assert part.layers == "30 layers; the weakest has 1 server"
    assert (servers.unit, weakest.unit) == ("serving", "server")
    newest = part.course.rows[0]
    assert (newest.servers, newest.weakest, newest.swarm) == (part.serving, "1", part.swarm)


def test_samples_of_a_clock_that_was_ahead_are_not_drawn_after_now():
    part = part_of(YES, [replace(sample, at=sample.at + 1e6) for sample in make_samples()])
    assert part.course is None


def test_a_model_whose_classes_cannot_work_together_has_no_weakest_layer_that_works():
    """The strip counts two servers everywhere; the history says 0 because nothing can be generated."""
    model = make_model(answer=Answer.NO, servers=[make_server(0, (0, 30)), make_server(1, (0, 30))])
    assert part_of(model).layers == "30 layers; no numerics class holds all of them"


@pytest.mark.parametrize(
    ("models", "fresh", "past"),
    [
        ([YES], "The model can generate text now", "The model could generate text when last seen"),
        (
            [THIN],
            "The model can generate text now, but is thin",
            "The model could generate text when last seen, but was thin",
        ),
        ([NO], "The model cannot generate text now", "The model could not generate text when last seen"),
        (
            [YES, THIN],
            "All 2 models can generate text now, 1 of them is thin",
            "All 2 models could generate text when last seen, 1 of them was thin",
        ),
        (
            [THIN, NO],
            "1 of 2 models can generate text now, but it is thin",
            "1 of 2 models could generate text when last seen, but it was thin",
        ),
        (
            [THIN, THIN],
            "All 2 models can generate text now, but they are thin",
            "All 2 models could generate text when last seen, but they were thin",
        ),
        (
            [NO, NO],
            "None of 2 models can generate text now",
            "None of 2 models could generate text when last seen",
        ),
        (
            [YES, YES, NO],
            "2 of 3 models can generate text now",
            "2 of 3 models could generate text when last seen",
        ),
        (
            [YES, THIN, THIN],
            "All 3 models can generate text now, 2 of them are thin",
            "All 3 models could generate text when last seen, 2 of them were thin",
        ),
    ],
)
def test_the_title_says_thin_where_a_card_does(models: list[ModelView], fresh: str, past: str):
    assert sentences.summary(models, is_fresh=True) == fresh
    assert sentences.summary(models, is_fresh=False) == past


@pytest.mark.parametrize("model", [YES, THIN, NO], ids=["yes", "thin", "no"])
def test_a_swarm_that_cannot_be_read_is_told_of_in_the_past_everywhere(model: ModelView):
    """Title, headline, badge, plots and terminal: none of them says what is now."""
    state = make_state([model], fresh=False, detail="nobody answers", probe=make_probe())
    said = words_of(state, make_samples())
    for present in (
        "can generate",
        "cannot generate",
        " is thin",
        "depend ",
        "depends",
        "nobody serves",
        "Help here",
    ):
        assert present not in said
    assert "when last seen" in said
    assert "h before last seen" in said
    report = as_text(state)
    assert "when last seen" in report and "now" not in report.replace("can't be read now", "")


def test_servers_with_few_and_many_layers_compare():
    """Both machines take 1 ms for a layer. The one with more layers isn't slower."""
    small = make_server(0, (0, 10), decode_tokens_per_second=100.0, prefill_tokens_per_second=1000.0)
    large = make_server(1, (0, 30), decode_tokens_per_second=100.0 / 3, prefill_tokens_per_second=1000.0 / 3)
    rows = part_of(make_model(servers=[small, large])).servers
    assert {row.decode for row in rows} == {"1.00k"}
    assert {row.prefill for row in rows} == {"10.0k"}
    assert len({row.decode_order for row in rows}) == 1
    report = as_text(make_state(servers=[small, large]))
    assert report.count("1.00k") == 2
    assert "layer-tokens" in report


def one_of_everything() -> HealthState:
    """A model of one layer with one server, and one line on the board that one client has signed."""
    server = make_server(0, (0, 1), queue_depth=1, free_cache_tokens=1)
    contribution = replace(make_contribution(), sponsors=1, decode_layer_tokens=1, prefill_layer_tokens=1)
    return make_state(servers=[server], num_layers=1, contributions=[contribution], probe=make_probe())


def test_one_of_anything_is_no_plural():
    earlier = Sample(
        at=NOW, servers=1, weakest_replicas=1, swarm_tokens_per_second=1.0, probe_tokens_per_second=1.0
    )
    samples = [replace(earlier, at=NOW - age) for age in (120.0, 60.0)]
    many = [make_server(number, (0, 1), state=Activity.JOINING) for number in range(61)]
    crowded = make_state(servers=many, num_layers=1)
    said = [words_of(one_of_everything(), samples), as_text(one_of_everything()), words_of(crowded, samples)]
    plural = re.compile(
        r"\b1 (?:more )?(?:layers|servers|models|hours|clients|sessions|texts|minutes|seconds|receipts)\b"
        r"|\blayers \d+(?![\d–,]| and)|\blayer \d+–"
    )
    assert [plural.findall(text) for text in said] == [[], [], []]


@pytest.mark.parametrize(
    ("spans", "words"),
    [
        ([(0, 30)], "all layers have 1 server each"),
        ([(0, 30), (0, 30)], "all layers have 2 servers each"),
        ([(0, 20)], "layers 20–29 have no server"),
        ([(0, 30), (0, 7), (8, 30)], "layer 7 has 1 server"),
        ([(0, 30), (3, 30)], "layers 0–2 have 1 server"),
        ([(0, 30), (10, 20)], "layers 0–9 and 20–29 have 1 server"),
    ],
)
def test_the_layers_that_need_help_most_are_said_where_the_model_is(spans: list[tuple[int, int]], words: str):
    model = make_model(servers=[make_server(number, span) for number, span in enumerate(spans)])
    assert wanted_layers(model) == words
    assert f"Help here : {words}." in words_of(make_state([model]))
    assert f"Help here: {words}" in " ".join(as_text(make_state([model])).split())


def test_a_long_name_and_a_whole_id_can_be_read():
    """The table never cuts a name; the id opens. The bar's text may be cut, and its title isn't."""
    name = "The station wagon of the Okafor family, second floor, Lyon (FR)"
    server = make_server(3, (0, 30), public_name=name)
    page = render_page(make_state(servers=[server]), {}, snapshot_id="x", now=NOW)
    assert page.count(name) == 4  # the bar, its title, the table, and the table's order
    assert f"<bdi>{server.peer_id}</bdi>" in page


def test_the_whole_hash_is_there_and_hidden():
    page = render_page(make_state(), {}, snapshot_id="x", now=NOW)
    hash_ = model_hash(0)
    visible = re.sub(r"<details.*?</details>", "", page, flags=re.S)
    assert f"<code>{hash_}</code>" in page
    assert hash_ not in re.sub(r'(?:data-key|href|id|for|aria-\w+)="[^"]*"', "", visible)


def test_the_strips_colours_have_a_legend():
    said = words_of(make_state())
    assert "Servers of a layer: none 1 2 3 or more" in said


def test_all_that_is_new_is_in_the_json():
    assert as_json(make_state(join_model="org/name"))["join_model"] == "org/name"


def test_a_rate_says_for_which_texts_it_is_and_when_it_was_measured_unless_that_was_lately():
    fresh = make_server(1, (0, 10), decode_tokens_per_second=40.0, long_decode_tokens_per_second=25.0)
    old = make_server(2, (0, 10), measured_at=NOW - 3 * 3600)
    silent = make_server(3, (0, 10), long_decode_tokens_per_second=None, measured_at=None)
    rows = [server_row(server, NOW) for server in (fresh, old, silent)]

    assert [row.long_decode for row in rows] == ["250", "250", ""]
    assert [row.measured and row.measured.seconds for row in rows] == [None, int(NOW - 3 * 3600), None]
    report = as_text(make_state([make_model(servers=[fresh, old, silent])]), width=200)
    assert "3.0 h ago" in report and "long texts" in report


def test_prefill_has_a_time_of_its_own_and_eight_texts_together_a_rate():
    """Prompts come rarely where answers are long."""
    server = make_server(1, (0, 10), prefill_measured_at=NOW - 2 * 3600, batch_decode_tokens_per_second=160.0)
    silent = make_server(2, (0, 10), prefill_measured_at=None, batch_decode_tokens_per_second=None)
    row, other = server_row(server, NOW), server_row(silent, NOW)

    assert (row.measured, row.batch_decode, other.batch_decode) == (None, "1.60k", "")
    assert row.prefill_measured and row.prefill_measured.seconds == int(NOW - 2 * 3600)
    report = as_text(make_state([make_model(servers=[server, silent])]), width=200)
    assert "2.0 h ago" in report and "8 texts" in report
    assert "8 texts 1.60k" in words_of(make_state([make_model(servers=[server, silent])]))
    assert (
        as_json(make_state([make_model(servers=[server])]))["models"][0]["servers"][0]["prefill_measured_at"]
        == NOW - 2 * 3600
    )


def test_layers_that_are_weakest_by_speed_are_not_told_by_their_servers():
    """Fast and slow servers: counts would mislead."""
    two, one = Stretch(start=0, end=10, replicas=2), Stretch(start=10, end=12, replicas=1)
    model = replace(make_model(), coverage=(two, replace(one, end=30)))

    assert wanted_layers(replace(model, wanted=(two, one))) == "layers 0–11 are served slowest"
    assert wanted_layers(replace(model, wanted=(two,))) == "layers 0–9 are served slowest"
    assert wanted_layers(replace(model, wanted=(one,))) == "layers 10–11 have 1 server"
