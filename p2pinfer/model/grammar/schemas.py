"""JSON schemas that users send, as grammars.

What llguidance enforces departs from the standard in places: properties come in the order in which the
schema lists them, and names that only `additionalProperties` or `patternProperties` allow may come twice.
Objects that list their properties and say nothing of others get no others: small models otherwise go on
inventing some.

Between two values at most one space is allowed: small models otherwise go on writing spaces. A text or a list
may be as long as the schema allows, and as the answer's limit does: a schema for small models should have
`maxLength` and `maxItems`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import llguidance

from p2pinfer.errors import UsageError
from p2pinfer.model.grammar.constraint import LIMITS, Grammar, first_line
from p2pinfer.model.grammar.endless import endless_place
from p2pinfer.model.grammar.keywords import GUIDANCE
from p2pinfer.model.grammar.schema_reader import Pointer, SchemaReader
from p2pinfer.outside.plain_json import read_json

MOST_CHARACTERS = 128 * 1024
"""Of a schema's JSON."""

_OPTIONS = {
    "item_separator": ", ?",
    "key_separator": ": ?",
    "whitespace_flexible": False,
    # Only the escapes that JSON needs: no halves of surrogate pairs, which aren't characters.
    "json_allow_general_unicode_escapes": False,
}
_OVERLAP = "the branches of oneOf may overlap: use anyOf"
_COMBINING = frozenset({"$ref", "allOf", "anyOf", "oneOf"})
_OPEN = frozenset({"additionalProperties", "minProperties", "patternProperties"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """A JSON schema that can be enforced."""

    text: str
    """JSON, for llguidance: only keywords that it enforces, and how it shall treat whitespace."""

    relaxed: tuple[str, ...] = ()
    """The places of what isn't enforced; always empty if the schema was read strictly."""

    @property
    def grammar(self) -> Grammar:
        """JSON that fits the schema, and nothing around it."""
        return Grammar(text=llguidance.LLMatcher.grammar_from_json_schema(self.text), name="the JSON schema")


def read_schema(schema: Any, *, is_strict: bool, name: str = "the JSON schema") -> Schema:
    """Check a schema that a user sent, and make it ready. `name` is what messages call it.

    If strict, every keyword that can't be enforced is an error. Otherwise unknown keywords, formats and
    those that llguidance doesn't know are left out, and listed, and `oneOf` is taken for `anyOf`.

    Raises UsageError, with the place, for what is malformed, too large or too deep, refers to other documents
    (nothing is ever fetched) or can't be enforced; and for a schema that no finite JSON fits.
    """
    reader = SchemaReader(name=name, is_strict=is_strict)
    kept = reader.read(_plain_copy(schema, name))
    reader.check_references()
    endless = endless_place(reader.places, reader.target)
    if endless is not None:
        raise reader.wrong(endless, "requires itself again and again: no finite JSON fits")
    if kept is False:
        raise UsageError(f"{name} allows nothing")
    kept = {} if kept is True else kept
    _close_objects(reader.places)
    text = _with_options(kept, is_strict=is_strict)
    if refusal := _refusal(text):
        place, refusal = _blame(reader.places, kept, is_strict=is_strict) or ((), refusal)
        raise reader.wrong(place, f"can't be enforced: {refusal}")
    return Schema(text=text, relaxed=tuple(reader.relaxed))


ANY_OBJECT = Schema(text=json.dumps({"type": "object", GUIDANCE: _OPTIONS}))
"""Any JSON object."""


def _plain_copy(schema: Any, name: str) -> Any:
    try:
        text = json.dumps(schema, allow_nan=False, ensure_ascii=False)
        text.encode()
    except RecursionError as error:
        raise UsageError(f"{name} is nested too deep") from error
    except UnicodeError as error:
        raise UsageError(f"{name} holds half a character") from error
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name} is no JSON: {error}") from error
    if len(text) > MOST_CHARACTERS:
        raise UsageError(f"{name} is longer than {MOST_CHARACTERS:,} characters")
    try:
        return read_json(text)
    except ValueError as error:
        raise UsageError(f"{name} can't be read: {error}") from error


def _with_options(schema: dict[str, Any], *, is_strict: bool) -> str:
    return json.dumps(schema | {GUIDANCE: _OPTIONS | {"coerce_one_of": not is_strict}})


def _refusal(text: str) -> str:
    """Why llguidance doesn't take a schema; empty if it does."""
    try:
        grammar = llguidance.LLMatcher.grammar_from_json_schema(text)
    except ValueError as error:
        return first_line(str(error))
    is_error, messages = llguidance.LLMatcher.validate_grammar_with_warnings(grammar, limits=LIMITS)
    reason = first_line(messages[0]) if is_error else ""
    return _OVERLAP if reason.startswith("oneOf") else reason


def _blame(places: dict[Pointer, Any], top: dict[str, Any], *, is_strict: bool) -> tuple[Pointer, str] | None:
    """The innermost place that llguidance refuses by itself, and why."""
    definitions = {key: top[key] for key in ("$defs", "definitions") if key in top}
    for at in sorted(places, key=len, reverse=True):
        if not isinstance(places[at], dict) or at == ():
            continue
        # A reference to elsewhere leads nowhere in the part alone: that is no reason.
        part = places[at] | definitions if _refers(places[at]) else places[at]
        refusal = _refusal(_with_options(part, is_strict=is_strict))
        if refusal and not refusal.startswith("Pointer"):
            return at, refusal
    return None


def _refers(schema: Any) -> bool:
    return '"$ref"' in json.dumps(schema)


def _close_objects(places: dict[Pointer, Any]) -> None:
    """Forbid further properties where an object lists some and is silent on others.

    Not in a schema with intersections: what one part closes another couldn't add to.
    """
    objects = [schema for schema in places.values() if isinstance(schema, dict)]
    if any(
        "allOf" in schema or ("properties" in schema and _COMBINING & schema.keys()) for schema in objects
    ):
        return
    for schema in objects:
        required = schema.get("required", [])
        if (
            "properties" in schema
            and not _OPEN & schema.keys()
            and isinstance(required, list)
            and all(isinstance(name, str) and name in schema["properties"] for name in required)
        ):
            schema["additionalProperties"] = False
