"""The state as JSON, for `/api/v1/state` and `--json`.

Names are those of the dataclasses in snapshot/state.py, which explain them. Enumerations are words, layers
are half-open, times are Unix seconds. A program may rely on this:

- It is strict JSON: NaN, infinities and unknown values are null. Whole numbers are within 2^53, where
  JavaScript is exact.
- No text has a control character, a line break or a mark that changes the writing direction. Texts have at
  most 300 characters, lists at most 4,096 items. Strangers choose texts: escape them in markup.
- Fields may be added. Within /api/v1 no field is removed or changes its meaning.
"""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any, TypeAlias

from p2pinfer.health.snapshot.plain import clean_text
from p2pinfer.health.snapshot.state import (
    CellView,
    ContributionView,
    HealthState,
    ModelView,
    Population,
    ProbeView,
    ServerView,
    Stretch,
)

Json: TypeAlias = "dict[str, Json] | list[Json] | str | float | int | bool | None"

MAX_ITEMS = 4096
MAX_CHARACTERS = 300

_MOST_EXACT = 2**53 - 1
_NAMES = {
    kind: tuple(field.name for field in fields(kind))
    for kind in (
        HealthState,
        ModelView,
        Stretch,
        ServerView,
        ProbeView,
        ContributionView,
        Population,
        CellView,
    )
}


def as_json(state: HealthState) -> dict[str, Json]:
    """The state in a form that `json.dumps(..., allow_nan=False)` accepts, for any state."""
    return _fields(state)


def _fields(value: Any) -> dict[str, Json]:
    return {name: _plain(getattr(value, name)) for name in _NAMES[type(value)]}


def _plain(value: object) -> Json:
    # The most frequent types first: 2,000 servers have 34,000 values.
    if isinstance(value, str):  # enumerations too
        return clean_text(value, MAX_CHARACTERS)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return max(-_MOST_EXACT, min(value, _MOST_EXACT))
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, tuple):
        return [_plain(item) for item in value[:MAX_ITEMS]]
    return _fields(value)
