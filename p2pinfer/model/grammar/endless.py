"""Finds the parts of a schema that no finite JSON fits: a model that follows them never ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from p2pinfer.model.grammar.schema_reader import Pointer

Target = Callable[[str], Pointer | None]


def endless_place(places: Mapping[Pointer, Any], target: Target) -> Pointer | None:
    """The first place that leads to itself without a way out; None if the schema has an end everywhere.

    Such are `{"$ref": "#"}`, and an object that requires a property of its own kind. A least fixpoint: at
    first nothing is known to end, and then what has ends within, until no more is found.
    """
    ending: set[Pointer] = set()
    while True:
        unknown = [(at, schema) for at, schema in places.items() if at not in ending]
        found = {at for at, schema in unknown if _ends(at, schema, ending, target)}
        if not found:
            return next((at for at in places if at not in ending), None)
        ending |= found


def _ends(at: Pointer, schema: Any, ending: set[Pointer], target: Target) -> bool:
    if not isinstance(schema, dict):
        return True
    if "$ref" in schema and target(schema["$ref"]) not in ending:
        return False
    for keyword, enough in (("allOf", all), ("anyOf", any), ("oneOf", any)):
        if schema.get(keyword) and not enough(
            (*at, keyword, str(number)) in ending for number in range(len(schema[keyword]))
        ):
            return False
    if "type" in schema and schema["type"] not in ("object", "array"):
        return True
    properties = schema.get("properties", {})
    required = schema.get("required", [])
    if isinstance(required, list) and any(
        isinstance(name, str) and name in properties and (*at, "properties", name) not in ending
        for name in required
    ):
        return False
    least = schema.get("minItems", 0)
    if not isinstance(least, int) or least <= 0:
        return True
    first = schema.get("prefixItems", [])
    inside = [(*at, "prefixItems", str(number)) for number in range(min(least, len(first)))]
    if least > len(first) and "items" in schema:
        inside.append((*at, "items"))
    return all(place in ending for place in inside)
