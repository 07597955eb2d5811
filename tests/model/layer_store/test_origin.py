"""Where a model came from: what is written can be read again, whatever the source said."""

from __future__ import annotations

import json

import pytest

from p2pinfer.model.layer_store.origin import MOST_TENSORS, Origin, TensorPlace

PLACE = TensorPlace("model.safetensors", 8, 16)


def proper(**fields: object) -> Origin:
    said = {"words": "safetensors", "hub_id": None, "revision": None, "licence": None, "tensors": {}}
    return Origin.proper(**(said | fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"words": "x" * 1000},
        {"words": "two\nlines"},
        {"licence": "\x1b[31m"},
        {"licence": "l" * 1000},
        {"hub_id": "../../etc", "revision": "a" * 40},
        {"hub_id": "a/b", "revision": "main"},
        {"hub_id": None, "revision": "a" * 40},
        {"tensors": {"a b": PLACE, "ok": PLACE}},
        {"tensors": {"ok": TensorPlace("../x", 8, 16)}},
        {"tensors": {"ok": TensorPlace("x", 16, 8)}},
        {"tensors": {"ok": TensorPlace("x", -1, 1 << 60)}},
        {"tensors": {f"t{number}": PLACE for number in range(MOST_TENSORS + 1)}},
    ],
)
def test_no_origin_is_written_that_can_not_be_read(fields: dict[str, object]):
    """A store would be lost because of a name in a stranger's file."""
    made = proper(**fields)

    assert Origin.from_json(json.loads(json.dumps(made.to_json()))) == made


def test_what_is_proper_stays():
    made = proper(hub_id="a/b", revision="a" * 40, licence="mit", tensors={"norm.weight": PLACE})

    assert made == Origin(
        format="safetensors",
        hub_id="a/b",
        revision="a" * 40,
        licence="mit",
        tensors={"norm.weight": PLACE},
    )
