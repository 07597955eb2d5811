"""What texts mean."""

from __future__ import annotations

import json
import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.owner.signals.config import Meaning
from p2pinfer.owner.signals.meaning import make_sense, text_of, text_of_json
from p2pinfer.owner.signals.trouble import SourceError

NOTHING = Meaning()


def value(text: str, kind: type, meaning: Meaning = NOTHING):
    return make_sense(text, meaning, kind, subject="thing").value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", True),
        ("ON", True),
        ("1", True),
        ("Yes", True),
        ("false", False),
        ("off", False),
        ("0", False),
    ],
)
def test_usual_words_for_yes_and_no(text, expected):
    assert value(text, bool) is expected


@pytest.mark.parametrize("text", ["", "maybe", "2", "unavailable", "true false"])
def test_what_is_neither_yes_nor_no_means_nothing(text):
    with pytest.raises(SourceError):
        value(text, bool)


def test_the_owner_says_what_is_true():
    gear = Meaning(true_when=("P", ""))
    assert [value(text, bool, gear) for text in ("P", "p", "", "D", "R")] == [True, True, True, False, False]


def test_the_owner_says_what_is_false():
    state = Meaning(false_when=("driving",))
    assert [value(text, bool, state) for text in ("Driving", "asleep")] == [False, True]
    with pytest.raises(SourceError):
        value("", bool, state)


def test_where_the_owner_says_both_all_else_means_nothing():
    both = Meaning(true_when=("P",), false_when=("D", ""))
    assert [value(text, bool, both) for text in ("P", "D", "")] == [True, False, False]
    with pytest.raises(SourceError):
        value("N", bool, both)


@pytest.mark.parametrize(
    "text",
    ["unavailable", "Unknown", "none", "None", "null", "NULL", "UNDEF", "nan", "N/A", "", '"unavailable"'],
)
@pytest.mark.parametrize(
    "meaning",
    [NOTHING, Meaning(true_when=("on",)), Meaning(false_when=("off",)), Meaning(true_when=("x",), scale=2.0)],
)
def test_words_that_say_that_nothing_is_known_are_never_an_answer(text: str, meaning: Meaning):
    """Neither yes nor no, whatever the owner lists besides; nor a number, nor the name of a place."""
    for kind in (bool, float, str):
        if kind is str and not text:
            continue  # of a text, nothing is an answer: no Wi-Fi is connected
        with pytest.raises(SourceError, match=r"which is no answer|it says nothing"):
            value(text, kind, meaning)


@pytest.mark.parametrize("text", ["(null)", "<none>", "--", "???", "[]", "{}"])
def test_how_such_words_are_dressed_up_changes_nothing(text: str):
    for kind in (bool, float, str):
        with pytest.raises(SourceError):
            value(text, kind, Meaning(true_when=("on",)))


@pytest.mark.parametrize("text", ["unavailable", "Unknown", "none", "null", ""])
def test_the_owner_may_list_such_a_word_and_then_it_counts(text: str):
    assert value(text, bool, Meaning(true_when=(text.upper(),))) is True
    assert value(text, bool, Meaning(true_when=("on",), false_when=(text,))) is False
    assert value(text, str, Meaning(names=(text,))) == text


def test_a_list_with_one_such_word_is_not_a_list_of_all():
    with pytest.raises(SourceError):
        value("unknown", bool, Meaning(false_when=("unavailable",)))


def test_jsons_null_is_no_name():
    """Otherwise the attribute of a sensor that has just started would say that no program runs."""
    for text, meaning in ((None, NOTHING), ('{"a": null}', Meaning(json_path=("a",)))):
        with pytest.raises(SourceError, match="null"):
            make_sense(text, meaning, str, subject="thing")
    with pytest.raises(SourceError):
        value("", str, Meaning(json_path=("a",)))


def test_numbers_are_scaled_and_moved():
    assert value("2.5", float, Meaning(scale=10.0, offset=-1.0)) == 24.0
    assert value("-4e2", float) == -400.0


@pytest.mark.parametrize(
    "text",
    ["", "NaN", "inf", "-Infinity", "1e999", "1_000", "٤٢", "0x10", "1,5", "5 W", "1 2", "true", "9" * 400],
)
def test_what_is_no_finite_number_means_nothing(text):
    with pytest.raises(SourceError):
        value(text, float)


def test_thousands_of_digits_that_are_no_number_are_told_at_once():
    """A device may send 64 KB of them: dividing them in every way took a minute."""
    began = time.process_time()
    with pytest.raises(SourceError):
        value("9" * 65_000 + "x", float)
    assert time.process_time() - began < 1.0


def test_a_scale_that_leads_out_of_all_bounds_means_nothing():
    with pytest.raises(SourceError):
        value("1e300", float, Meaning(scale=1e300))


def test_texts_are_taken_as_they_are_unless_they_could_play_tricks():
    assert value("Zu Hause", str) == "Zu Hause"
    assert value("", str) == ""
    for trick in ("a\x1b[2J", "a\nb", "x" * 201, "\ud800"):
        with pytest.raises(SourceError):
            value(trick, str)


def test_a_place_in_json():
    text = json.dumps({"loads": [{"power": 1.5, "on": True, "name": "wallbox", "gone": None}]})
    path = ("loads", "0")
    assert value(text, float, Meaning(json_path=(*path, "power"))) == 1.5
    assert value(text, bool, Meaning(json_path=(*path, "on"))) is True
    assert value(text, str, Meaning(json_path=(*path, "name"))) == "wallbox"
    assert value(text, bool, Meaning(json_path=(*path, "gone"), true_when=("",))) is True
    for wrong in (("loads", "1"), ("loads", "-1"), ("loads", "x"), ("x",), (*path, "power", "deeper")):
        with pytest.raises(SourceError):
            value(text, float, Meaning(json_path=wrong))


@pytest.mark.parametrize(
    "bomb", ["[" * 60_000, '{"a":' * 10_000, "9" * 60_000, '"\\ud800"', "NaN", "{", "\x00"]
)
def test_hostile_json_means_nothing(bomb):
    with pytest.raises(SourceError):
        value(bomb, float, Meaning(json_path=("a",)))


def test_payloads_are_bounded_and_text():
    assert text_of(b" P \n") == "P"
    for payload in (b"\xff", b"x" * 65_537):
        with pytest.raises(SourceError):
            text_of(payload)


@pytest.mark.parametrize(
    ("text", "meaning", "kind", "words"),
    [
        ("D", Meaning(true_when=("P",), called="gear"), bool, "gear is D"),
        ("", Meaning(true_when=("",)), bool, "shift state is empty"),
        ("0.5", Meaning(scale=100.0), float, "shift state is 50"),
        ('{"a": {"grid_price": 0.28}}', Meaning(json_path=("a", "grid_price")), float, "grid price is 0.28"),
        ("Home", NOTHING, str, "shift state is Home"),
        ("x" * 50, Meaning(false_when=("y",)), bool, "shift state is " + "x" * 39 + "…"),
    ],
)
def test_words_for_people(text, meaning, kind, words):
    assert make_sense(text, meaning, kind, subject="shift_state").words == words


_texts = st.one_of(
    st.text(max_size=30),
    st.floats().map(str),
    st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5), st.lists, max_leaves=5).map(
        json.dumps
    ),
)
_meanings = st.builds(
    Meaning,
    true_when=st.lists(st.text(max_size=3), max_size=2).map(tuple),
    false_when=st.lists(st.text(max_size=3), max_size=2).map(tuple),
    json_path=st.lists(st.sampled_from(["0", "a", "1"]), max_size=2).map(tuple),
    scale=st.floats(allow_nan=False, allow_infinity=False),
)


@settings(max_examples=150)
@given(text=_texts, meaning=_meanings, kind=st.sampled_from([bool, float, str]))
def test_whatever_comes_has_a_value_of_the_right_kind_or_a_reason(text, meaning, kind):
    try:
        told = make_sense(text, meaning, kind, subject="thing")
    except SourceError:
        return
    assert type(told.value) is kind
    assert told.words.isprintable()
    if kind is float:
        assert math.isfinite(told.value)


def test_json_values_as_text():
    assert [text_of_json(one) for one in (None, True, 3, 0.5, " x ", [1])] == [
        None,
        "true",
        "3",
        "0.5",
        "x",
        "[1]",
    ]
    with pytest.raises(SourceError):
        text_of_json(object())


def test_what_is_wrong_with_a_source_is_one_short_line():
    assert str(SourceError("a\x1b[2J\nb", kind="x")) == "a?[2J?b"
    assert len(str(SourceError("x" * 1000, kind="x"))) == 300
