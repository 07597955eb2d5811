"""The JSON is strict and bounded, and has the fields and names of the state."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from p2pinfer.health.json_form import MAX_CHARACTERS, MAX_ITEMS, Json, as_json
from p2pinfer.health.snapshot import state as words
from p2pinfer.health.snapshot.state import HealthState
from tests.health.states import (
    NOW,
    hostile_state,
    large_state,
    make_contribution,
    make_model,
    make_probe,
    make_server,
    make_state,
)


def test_the_json_says_what_the_state_says():
    """Enumerations as their words, tuples as lists, None as null."""
    model = make_model(servers=[make_server(1, (0, 30), leaves_at=NOW + 60)], probe=make_probe())
    form = as_json(make_state([model], contributions=[make_contribution(1)]))
    [shown] = form["models"]

    assert form["generated_at"] == NOW and form["fresh"] is True
    assert shown["answer"] == "thin"
    assert shown["coverage"] == [{"start": 0, "end": 30, "replicas": 1}]
    assert shown["servers"][0]["state"] == "serving"
    assert shown["servers"][0]["leaves_at"] == NOW + 60
    assert shown["probe"]["route"][0][1:] == [0, 15]
    assert form["contributions"][0]["public_name"] == "Car 1"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("HealthState", []),
        ("ModelView", ["models", 0]),
        ("Stretch", ["models", 0, "coverage", 0]),
        ("ServerView", ["models", 0, "servers", 0]),
        ("ProbeView", ["models", 0, "probe"]),
        ("ContributionView", ["contributions", 0]),
    ],
)
def test_names_are_those_of_the_state(name: str, path: list[str | int]):
    """Programs rely on these names."""
    form: Json = as_json(make_state(probe=make_probe(), contributions=[make_contribution()]))
    for step in path:
        form = form[step]

    assert list(form) == [field.name for field in fields(getattr(words, name))]


@pytest.mark.parametrize("state", [hostile_state(), large_state(500)], ids=["hostile", "large"])
def test_it_is_strict_json_whatever_is_in_the_state(state: HealthState):
    """UTF-8 without lone surrogates, no NaN, and what is read back is what was written."""
    form = as_json(state)
    data = json.dumps(form, allow_nan=False, ensure_ascii=False).encode("utf-8")

    assert json.loads(data) == form
    assert len(data) < 500_000


def test_every_part_of_it_is_bounded():
    """A name of a megabyte, a million stretches, numbers beyond JavaScript's exact range."""

    def check(value: Json) -> None:
        if isinstance(value, str):
            assert len(value) <= MAX_CHARACTERS and value.isprintable()
        elif isinstance(value, int):
            assert abs(value) < 2**53
        elif isinstance(value, list):
            assert len(value) <= MAX_ITEMS
            for item in value:
                check(item)
        elif isinstance(value, dict):
            for item in value.values():
                check(item)

    check(as_json(hostile_state()))
    check(as_json(make_state(contributions=[make_contribution()] * 5000)))
