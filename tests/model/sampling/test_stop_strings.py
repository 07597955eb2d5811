"""Texts that end an answer, wherever the borders of tokens lie."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.errors import UsageError
from p2pinfer.model.sampling.stop_strings import StopStrings


def shown(stops: list[str], pieces: list[str]) -> tuple[list[str], str | None]:
    """What is shown of each piece and at the end, and what ended the text."""
    finder = StopStrings(stops)
    texts = []
    for piece in pieces:
        text, stop = finder.feed(piece)
        texts.append(text)
        if stop is not None:
            return texts, stop
    return [*texts, finder.flush()], None


def plain(stops: list[str], text: str) -> tuple[str, str | None]:
    """The same, by looking at every beginning of the text."""
    for end in range(1, len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            return text[: end - max(map(len, found))], max(found, key=len)
    return text, None


@pytest.mark.parametrize("stop", ["", None, 5, b"x"])
def test_a_stop_text_that_is_none_is_refused(stop: Any):
    with pytest.raises(UsageError, match="stop has"):
        StopStrings(["ok", stop])


@settings(max_examples=500)
@given(data=st.data())
def test_however_a_text_is_cut_the_earliest_stop_text_ends_it(data: st.DataObject):
    letters = st.text("ab🙂", max_size=30)
    stops = data.draw(st.lists(st.text("ab🙂", min_size=1, max_size=6), max_size=4))
    pieces = data.draw(st.lists(letters, max_size=8))
    texts, stop = shown(stops, pieces)

    assert ("".join(texts), stop) == plain(stops, "".join(pieces))


@settings(max_examples=300)
@given(st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=3), st.text("ab", max_size=30))
def test_no_more_is_held_back_than_may_become_a_stop_text(stops: list[str], text: str):
    """After each character what is held is the beginning of one of them, and the longest such."""
    finder = StopStrings(stops)
    so_far = seen = ""
    for character in text:
        piece, stop = finder.feed(character)
        so_far, seen = so_far + character, seen + piece
        if stop is not None:
            return
        held = so_far[len(seen) :]
        ends = [so_far[at:] for at in range(len(so_far))]
        longest = next((end for end in ends if any(one.startswith(end) for one in stops)), "")
        assert held == longest


def test_a_stop_text_over_several_tokens_is_not_shown_in_part():
    assert shown(["\nHuman:"], ["Hi.", "\n", "Hum", "an", ": x"]) == (["Hi.", "", "", "", ""], "\nHuman:")


def test_what_turns_out_to_be_no_stop_text_is_shown_after_all():
    assert shown(["\nHuman:"], ["Hi.", "\nHum", "ble"]) == (["Hi.", "", "\nHumble", ""], None)
    assert shown(["END"], ["the EN"]) == (["the ", "EN"], None)


def test_the_stop_text_that_is_complete_first_ends_the_text():
    assert shown(["abc", "b"], ["xabc"]) == (["xa"], "b")
    assert shown(["abc", "bc"], ["xabc"]) == (["x"], "abc")


def test_without_stop_texts_everything_passes():
    assert shown([], ["a", "", "b"]) == (["a", "", "b", ""], None)


def test_a_text_that_nearly_matches_for_ever_takes_no_longer():
    """Each character costs a constant number of steps, also where a long stop text nearly matches."""
    stop = "a" * 5000 + "b"
    finder = StopStrings([stop])
    given_text = "".join(finder.feed("a" * 1000)[0] for _ in range(100)) + finder.flush()

    assert given_text == "a" * 100_000
