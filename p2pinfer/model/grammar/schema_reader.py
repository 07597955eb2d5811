"""Walks over a JSON schema from a stranger: bounds it, and keeps the keywords that can be enforced."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from p2pinfer.errors import UsageError
from p2pinfer.model.grammar.keywords import (
    ANNOTATIONS,
    ENFORCED,
    FORMATS,
    GUIDANCE,
    LISTS_OF_SCHEMAS,
    NAMED_SCHEMAS,
    NOT_ENFORCED,
    ONE_SCHEMA,
)
from p2pinfer.plain_text import printable

MOST_PLACES = 1000
"""Schemas within one schema: properties, branches, definitions."""
MOST_DEPTH = 50

Pointer = tuple[str, ...]
"""A place in a schema: keys and indices from the top (RFC 6901)."""


@dataclass(slots=True, kw_only=True)
class SchemaReader:
    """One walk over one schema."""

    name: str
    """What the schema is called in messages."""
    is_strict: bool
    """Refuse what can't be enforced; otherwise it is left out, and noted."""
    places: dict[Pointer, Any] = field(default_factory=dict)
    """Every schema within the schema as it is enforced, the outer ones first."""
    relaxed: list[str] = field(default_factory=list)
    """What isn't enforced: places, as text."""

    def read(self, schema: Any, at: Pointer = ()) -> Any:
        """A copy of the schema at a place with nothing but what is enforced. Raises UsageError."""
        if len(at) > MOST_DEPTH:
            raise UsageError(f"{self.name} is nested more than {MOST_DEPTH} deep")
        if len(self.places) >= MOST_PLACES:
            raise UsageError(f"{self.name} has more than {MOST_PLACES} properties, branches and definitions")
        if isinstance(schema, bool):
            self.places[at] = schema
            return schema
        if not isinstance(schema, dict):
            raise self.wrong(at, f"must be a schema: an object, not {_kind(schema)}")
        kept: dict[str, Any] = {}
        self.places[at] = kept
        for keyword, value in _modern(schema).items():
            place = (*at, keyword)
            if keyword in ONE_SCHEMA:
                kept[keyword] = self.read(value, place)
            elif keyword in LISTS_OF_SCHEMAS:
                if not isinstance(value, list):
                    raise self.wrong(place, f"must be a list of schemas, not {_kind(value)}")
                kept[keyword] = [self.read(item, (*place, str(n))) for n, item in enumerate(value)]
            elif keyword in NAMED_SCHEMAS:
                if not isinstance(value, dict):
                    raise self.wrong(place, f"must be an object of schemas, not {_kind(value)}")
                kept[keyword] = {key: self.read(item, (*place, key)) for key, item in value.items()}
            elif self._is_enforced(keyword, value, place):
                kept[keyword] = value
        return kept

    def target(self, reference: str) -> Pointer | None:
        """The place that a `$ref` means; None if there is none in this schema."""
        _, _, fragment = reference.partition("#")
        steps = unquote(fragment).split("/")
        pointer = tuple(step.replace("~1", "/").replace("~0", "~") for step in steps[1:])
        return pointer if steps[0] == "" and pointer in self.places else None

    def check_references(self) -> None:
        """Raise UsageError for a `$ref` to somewhere else, or to nowhere."""
        for at, schema in self.places.items():
            if not isinstance(schema, dict) or "$ref" not in schema:
                continue
            reference, place = schema["$ref"], (*at, "$ref")
            if not isinstance(reference, str):
                raise self.wrong(place, f"must be a text, not {_kind(reference)}")
            if not reference.startswith("#"):
                raise self.wrong(place, "names another document: those are never fetched, use $defs")
            if self.target(reference) is None:
                raise self.wrong(place, f"names no schema in this document: {printable(reference, 80)}")

    def wrong(self, at: Pointer, what: str) -> UsageError:
        """The error for what is wrong at a place."""
        return UsageError(f"{self.name}: {in_words(at)} {what}")

    def _is_enforced(self, keyword: str, value: Any, place: Pointer) -> bool:
        if keyword == GUIDANCE:
            raise self.wrong(place, "can't be set")
        if keyword in ANNOTATIONS or (keyword == "$id" and len(place) == 1):
            return False
        if keyword == "format" and isinstance(value, str) and value not in FORMATS:
            return self._relax(
                place, f"{printable(value, 40)!r} isn't supported: {', '.join(sorted(FORMATS))}"
            )
        if keyword in ENFORCED:
            return True
        if keyword == "uniqueItems" and value is False:
            return False
        if keyword in NOT_ENFORCED:
            return self._relax(place, "is a keyword that isn't supported")
        return self._relax(place, "is no keyword of JSON Schema")

    def _relax(self, place: Pointer, what: str) -> bool:
        if self.is_strict:
            raise self.wrong(place, what)
        self.relaxed.append(in_words(place))
        return False


def in_words(at: Pointer) -> str:
    """A place for people: `/properties/name`, or `the top`."""
    return printable("".join(f"/{step}" for step in at)) or "the top"


def _modern(schema: dict[str, Any]) -> dict[str, Any]:
    """Tuples as older drafts wrote them (`items` is a list) as draft 2020-12 does."""
    if not isinstance(schema.get("items"), list):
        return {key: value for key, value in schema.items() if key != "additionalItems"}
    renamed = {"items": "prefixItems", "additionalItems": "items"}
    return {renamed.get(key, key): value for key, value in schema.items() if key != "prefixItems"}


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")
