"""Random edits of JSON that leave it JSON: a reader of it has passed its parser already."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

from tests.fuzz.spoiling.edited_bytes import edited

ODD = (
    "null", "true", "false", "0", "-0", "-1", "1.5", "1e308", "1e999", "NaN", "-Infinity", "9" * 400,
    "9" * 5000, "[" + "9" * 30_000 + "x", "18446744073709551616",
    '""', '" "', '"\\u0000"', '"\\ud800"', '"\\u202e"', '"../../x"', '"-1"', '"nan"',
    '"' + "x" * 10_000 + '"', "[]", "{}", "[[]]", '{"":{}}', "[" * 60 + "]" * 60, "[" * 900 + "]" * 900,
    '{"a":' * 300 + "1" + "}" * 300, "[" * 5000 + "]" * 5000, "[" + "0," * 2000 + "0]",
)  # fmt: skip
"""Values at which readers stumble, as texts: some are no value that this process could write itself."""

_PLACE = "\x01odd %d\x01"


def edited_json(sample: bytes, chance: random.Random, samples: Sequence[bytes]) -> bytes:
    """The sample after one to four edits of its values and keys."""
    try:
        tree = [json.loads(sample)]
    except ValueError:
        return edited(sample, chance, samples)
    odd: list[str] = []
    for _ in range(min(1 + int(chance.expovariate(1.0)), 4)):
        _edit(tree, chance, odd)
    text = json.dumps(tree[0])
    for number, value in enumerate(odd):
        text = text.replace(json.dumps(_PLACE % number), value)
    return text.encode()


def _edit(tree: list[Any], chance: random.Random, odd: list[str]) -> None:
    """Change one place of the tree, which has a single root."""
    places = list(_places(tree))
    holder, key = chance.choice(places)
    match chance.randrange(7):
        case 0 | 1 | 2:
            odd.append(chance.choice(ODD))
            holder[key] = _PLACE % (len(odd) - 1)
        case 3 if holder is not tree:
            del holder[key]
        case 4:
            other, its_key = chance.choice(places)
            holder[key], other[its_key] = other[its_key], holder[key]
            if _is_endless(tree):
                holder[key], other[its_key] = other[its_key], holder[key]
        case 5 if isinstance(holder, dict):
            odd_key = chance.choice(("", "\u202e", "\0", "x" * 300, "__proto__", "auto_map", *holder))
            holder[odd_key] = holder.pop(key)
        case _ if isinstance(holder, list) and holder is not tree:
            holder[key:key] = [holder[key]] * chance.choice((1, 2, 40))
        case _:
            holder[key] = [holder[key]]


def _places(tree: Any) -> Any:
    """Every value that is in a list or an object, as its holder and its key there."""
    waiting, left = [tree], 2000
    while waiting and left:
        holder = waiting.pop()
        for key in range(len(holder)) if isinstance(holder, list) else list(holder):
            yield holder, key
            left -= 1
            if isinstance(holder[key], list | dict):
                waiting.append(holder[key])


def _is_endless(tree: Any) -> bool:
    """True if a value lies within itself now."""
    try:
        json.dumps(tree)
    except (ValueError, RecursionError):
        return True
    return False
