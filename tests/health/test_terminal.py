"""The report on a terminal: aligned, within its width, in plain words, and harmless."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.command_line.tables import Column, display_width, fit, table
from p2pinfer.health.snapshot.durations import duration_in_words
from p2pinfer.health.snapshot.state import Activity, Answer, HealthState
from p2pinfer.health.terminal import MOST_SERVERS, as_text
from p2pinfer.types import Way
from tests.health.states import (
    HOSTILE_TEXTS,
    NOW,
    hostile_state,
    large_state,
    make_contribution,
    make_model,
    make_probe,
    make_server,
    make_state,
)

COLORS = re.compile(r"\x1b\[\d+m")


def picture(text: str) -> str:
    """The line of replicas."""
    return next(line for line in text.splitlines() if re.fullmatch(r"  [.0-9+]{20,}", line)).strip()


def test_the_whole_report():
    """The answer, the speed, the weakest layers, the servers, and the leaderboard."""
    servers = [
        make_server(0, (0, 15), public_name="Golf in the garage"),
        make_server(1, (15, 30), leaves_at=NOW + 900, state=Activity.SERVING),
        make_server(2, (0, 30), state=Activity.JOINING, decode_tokens_per_second=None),
    ]
    state = make_state(servers=servers, probe=make_probe(), contributions=[make_contribution(1)])
    lines = as_text(state).splitlines()

    assert lines[0].startswith("The swarm as of 2026-07-2")
    name = "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert lines[2] == f"THIN  {name} is thin: layers 0–29 depend on one server each"
    assert lines[3:7] == [
        "  It generates text now. It stops when the only server of a layer leaves.",
        "  Help here: all layers have 1 server each",
        "  30 layers, 2 servers serving; manifest f728b4fa424…",
        "  Servers claim 38.5 tokens/s for one text, 77.0 for many together",
    ]
    assert "it works, first token after 0.42 s, then 31.0 tokens/s" in lines[7]
    assert picture("\n".join(lines)) == "1" * 90
    table_at = next(number for number, line in enumerate(lines) if line.startswith("  name"))
    assert lines[table_at + 1].split("  ")[1] == "Golf in the garage"
    assert lines[table_at + 2].endswith("in 15 min")
    assert "joining       –" in lines[table_at + 3]
    assert lines[-1].split() == ["1", "Car", "1", "…22ib1y", "3.70M", "1.23M", "2"]


def test_missing_layers_are_said_and_drawn():
    """Ranges include their last layer."""
    text = as_text(make_state(servers=[make_server(0, (0, 10)), make_server(1, (20, 25))]))

    assert "NO  HuggingFaceTB" in text
    assert "cannot generate: nobody serves layers 10–19 and 25–29" in text
    assert picture(text) == "1" * 30 + "." * 30 + "1" * 15 + "." * 15


def test_classes_that_cannot_work_together_are_said():
    """No layer is missing, and still the model can't generate."""
    text = as_text(make_state([make_model(answer=Answer.NO)]))

    assert "every layer is served, but no numerics class holds all of them" in " ".join(text.split())


def test_a_long_model_is_drawn_by_its_weakest_layers():
    """One missing layer of a thousand is visible."""
    servers = [make_server(0, (0, 500)), make_server(1, (501, 1000))]
    text = as_text(make_state(servers=servers, num_layers=1000))

    assert picture(text).count(".") == 1
    assert "stands for several layers" in text


def test_more_than_nine_servers_are_many():
    servers = [make_server(number) for number in range(12)]

    assert set(picture(as_text(make_state(servers=servers)))) == {"+"}


def test_a_swarm_that_cannot_be_read_is_said_to_be_old():
    text = as_text(make_state(fresh=False, detail="nobody answers"))

    assert "This is old: the swarm can't be read now (nobody answers)." in text


def test_an_empty_swarm():
    assert "No model is served." in as_text(make_state([]))


def test_a_failed_probe_says_why():
    probe = make_probe(works=False, detail="no server for layer 7", first_token_seconds=None)

    assert "Tried 20 s ago: it failed (no server for layer 7)" in as_text(make_state(probe=probe))


def test_what_does_not_fit_is_left_out_in_order():
    """Name, peer and layers stay; a wide terminal shows all columns."""
    state = make_state()
    narrow, wide = as_text(state, width=50), as_text(state, width=160)
    titles = [next(line for line in text.splitlines() if "name" in line) for text in (narrow, wide)]

    assert titles[0].split()[:4] == ["name", "peer", "layers", "state"]
    assert "class" not in titles[0]
    assert {"queue", "region", "version", "class", "leaves"} <= set(titles[1].split())


def test_a_large_swarm_is_cut_and_says_so():
    """The rest is in --json."""
    text = as_text(large_state(500))

    assert f"and {500 - MOST_SERVERS} more: --json has all of them" in text


def test_colours_come_only_if_they_are_asked_for():
    state = make_state(probe=make_probe(), contributions=[make_contribution()])
    plain, coloured = as_text(state), as_text(state, color=True)

    assert "\x1b" not in plain
    assert COLORS.sub("", coloured) == plain != coloured


@pytest.mark.parametrize("width", [0, 40, 57, 100, 240])
@pytest.mark.parametrize(
    "state", [hostile_state(), large_state(500), make_state()], ids=["hostile", "large", "plain"]
)
def test_no_state_steers_the_terminal_or_leaves_its_width(state: HealthState, width: int):
    """No control character except line ends and the report's own colours."""
    for color in (False, True):
        text = as_text(state, width=width, color=color)
        assert text.endswith("\n")
        for line in COLORS.sub("", text).splitlines() if color else text.split("\n"):
            assert line.isprintable()
            assert display_width(line) <= max(40, width)
        assert text.encode("utf-8")


def test_columns_are_aligned_under_wide_letters():
    """A Japanese name takes two columns a letter."""
    servers = [make_server(0, public_name="漢字かな"), make_server(1, public_name="e\u0301te\u0301")]
    lines = as_text(make_state(servers=servers)).splitlines()
    rows = [line for line in lines if "  serving" in line]

    assert len({display_width(line[: line.index("serving")]) for line in rows}) == 1
    assert rows[0].index("serving") == rows[1].index("serving") - 6  # four wide letters, two marks


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("Golf", 4),
        ("漢字", 4),
        ("ｶﾅ", 2),
        ("Ａ", 2),
        ("กั", 1),
        ("e\u0301", 1),
        ("é…", 2),
        ("🚗", 2),
        ("☂\ufe0e", 1),
    ],
)
def test_how_wide_letters_are(text: str, columns: int):
    assert display_width(text) == columns


@given(st.sampled_from(HOSTILE_TEXTS[:15]) | st.text(max_size=30), st.integers(0, 40), st.booleans())
@settings(max_examples=150)
def test_what_is_fitted_has_exactly_its_columns(text: str, columns: int, align_right: bool):
    """Filled or cut, never in the middle of a wide letter."""
    assert display_width(fit(text, columns, align_right=align_right)) == columns


@given(
    st.lists(
        st.lists(st.text(alphabet="ab漢e\u0301", max_size=30), min_size=2, max_size=2), min_size=1, max_size=6
    ),
    st.integers(10, 60),
)
@settings(max_examples=100)
def test_a_table_fits(cells: list[list[str]], width: int):
    columns = [Column(title=f"t{rank}", cells=column, rank=rank) for rank, column in enumerate(cells)]
    lines = table(columns, width)

    assert len(lines) == 3
    assert all(display_width(line) <= width for line in lines)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0 s"),
        (59.9, "59 s"),
        (60.0, "1 min"),
        (5400.0, "1.5 h"),
        (86_400.0 * 12, "12 d"),
        (-1.0, "-"),
        (float("nan"), "-"),
        (1e308, "-"),
    ],
)
def test_durations_in_words(seconds: float, words: str):
    """Short, in the largest unit that fits."""
    assert duration_in_words(seconds) == words


def test_the_ways_of_servers_and_of_the_probes_hops_are_told():
    servers = [make_server(0, way=Way.PUNCHED), make_server(1, way=None)]
    probe = replace(make_probe(), route_ways=(Way.RELAYED, Way.DIRECT))
    text = as_text(make_state(servers=servers, probe=probe), width=200)

    assert re.search(r"  reached +decode", text)
    assert "  punched  " in text and "  direct?  " in text
    assert "layers 0–14 (relayed), …" in text
