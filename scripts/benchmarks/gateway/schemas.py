"""The schemas of bench_gateway (pure).

Texts and lists have limits, so that no answer has to be cut off. Those of COSTLY have a least length
instead: no answer ends before its last token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]


def _object(properties: Json, *optional: str) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def _text(most: int = 40) -> Json:
    return {"type": "string", "minLength": 1, "maxLength": most}


def _list(items: Json, least: int, most: int) -> Json:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


def _number(least: float, most: float) -> Json:
    return {"type": "number", "minimum": least, "maximum": most}


def _whole(least: int, most: int) -> Json:
    return {"type": "integer", "minimum": least, "maximum": most}


_POINT = _object({"latitude": _number(-90, 90), "longitude": _number(-180, 180)})
_ADDRESS = _object({"street": _text(), "town": _text(), "code": {"type": "string", "pattern": "^[0-9]{5}$"}})

SCHEMAS: Mapping[str, tuple[str, Json]] = {
    "person": ("Invent a person.", _object({"name": _text(), "age": _whole(0, 120)})),
    "book": (
        "Describe a book that you like.",
        _object(
            {
                "title": _text(60),
                "author": _object({"first_name": _text(), "last_name": _text()}),
                "year": _whole(1450, 2026),
            }
        ),
    ),
    "mood": (
        "What is the mood of this sentence: 'I have lost my keys again'?",
        _object(
            {
                "mood": {"enum": ["happy", "angry", "sad", "neutral"]},
                "certainty": _number(0, 1),
                "is_about_a_thing": {"type": "boolean"},
            }
        ),
    ),
    "tags": ("Give tags for an article about bread.", _object({"tags": _list(_text(20), 1, 5)})),
    "shopping": (
        "Write a shopping list for a pancake breakfast.",
        _object({"items": _list(_object({"what": _text(20), "count": _whole(1, 12)}), 1, 4)}),
    ),
    "contact": (
        "Invent a contact of an address book.",
        _object(
            {
                "name": _text(),
                "nickname": _text(20),
                "phone": {"type": "string", "pattern": "^[0-9 ]{6,14}$"},
            },
            "nickname",
            "phone",
        ),
    ),
    "place": (
        "Describe a town in Europe.",
        _object({"name": _text(), "where": _object({"country": _text(), "point": _POINT})}),
    ),
    "null": (
        "Name a river, and the sea that it ends in if you know it.",
        _object({"river": _text(), "sea": {"anyOf": [_text(), {"type": "null"}]}}),
    ),
    "date": (
        "When is your favourite holiday?",
        _object({"day": {"type": "string", "pattern": "^20[0-9]{2}-[01][0-9]-[0-3][0-9]$"}, "name": _text()}),
    ),
    "measures": (
        "Give three measured temperatures of a summer day.",
        _object({"unit": {"const": "celsius"}, "values": _list(_number(-20, 50), 3, 3)}),
    ),
    "references": (
        "Invent a company with an office and a store.",
        _object(
            {
                "name": _text(),
                "office": {"$ref": "#/$defs/address"},
                "store": {"$ref": "#/$defs/address"},
            }
        )
        | {"$defs": {"address": _ADDRESS}},
    ),
    "matrix": (
        "Write a matrix of two rows and two columns.",
        _object({"rows": _list(_list(_whole(-99, 99), 2, 2), 2, 2)}),
    ),
    "kinds": (
        "Describe a shape: a circle or a square.",
        _object(
            {
                "shape": {
                    "anyOf": [
                        _object({"kind": {"const": "circle"}, "radius": _whole(1, 100)}),
                        _object({"kind": {"const": "square"}, "side": _whole(1, 100)}),
                    ]
                }
            }
        ),
    ),
    "letters": (
        "Tell a very short story in French, with accents.",
        _object({"title": _text(30), "story": _text(120), "ends_well": {"type": "boolean"}}, "ends_well"),
    ),
}
"""Name -> what is asked, and the form of the answer."""

_LONG = 10_000

COSTLY: Mapping[str, Json] = {
    "one long text": _object({"text": {"type": "string", "minLength": _LONG}}),
    "many numbers": _object({"values": _list(_whole(0, 999), _LONG, _LONG)}),
    "many objects": _object({"people": _list(_object({"name": _text(20), "age": _whole(0, 120)}), 999, 999)}),
}
"""Forms of answers that never end early."""


def response_format(name: str, schema: Json) -> Json:
    """The fields of a request that ask for this form."""
    named = {"name": "".join(letter if letter.isalnum() else "_" for letter in name), "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": named}}
