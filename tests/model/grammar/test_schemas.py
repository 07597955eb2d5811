"""JSON schemas from strangers: what is refused, with which words, and what the rest allows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tokenizers import Tokenizer

from p2pinfer.errors import UsageError
from p2pinfer.model.grammar.constraint import CompiledGrammar
from p2pinfer.model.grammar.schema_reader import MOST_DEPTH, MOST_PLACES
from p2pinfer.model.grammar.schemas import ANY_OBJECT, MOST_CHARACTERS, Schema, read_schema
from p2pinfer.model.grammar.vocabulary import Vocabulary

B = {"$ref": "#/$defs/b"}


def nested(depth: int) -> dict[str, Any]:
    """Lists in lists."""
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


def properties(**parts: Any) -> dict[str, Any]:
    """An object's schema."""
    return {"type": "object", "properties": parts}


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (properties(a={"not": {}}), "/properties/a/not is a keyword that isn't supported"),
        (properties(a={"type": "array", "uniqueItems": True}), "/properties/a/uniqueItems is a keyword"),
        ({"if": {}, "then": {}}, "/if is a keyword that isn't supported"),
        ({"requierd": []}, "/requierd is no keyword of JSON Schema"),
        (properties(a={"anyOf": [{"type": "text"}]}), "/properties/a/anyOf/0 .*Invalid type: text"),
        (properties(a={"format": "phone"}), "/properties/a/format 'phone' isn't supported: date, "),
        (
            properties(p={"type": "string", "pattern": "(?=a)b"}),
            "/properties/p can't be enforced: look-around",
        ),
        (properties(p={"type": "string", "pattern": "("}), "/properties/p can't be enforced: unclosed group"),
        (properties(a={"oneOf": [{}, {"type": "null"}]}), "/properties/a .*branches of oneOf may overlap"),
        ({"patternProperties": {"^a": {}, "b$": {}}}, "the top can't be enforced: .*not disjoint"),
        ({"x-guidance": {"whitespace_flexible": True}}, "/x-guidance can't be set"),
        (properties(a={"x-guidance": {}}), "/properties/a/x-guidance can't be set"),
        (properties(a={"$id": "x"}), r"/properties/a/\$id is a keyword that isn't supported"),
    ],
)
def test_what_cannot_be_enforced_is_named_with_its_place(schema: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=f"^the JSON schema: {message}"):
        read_schema(schema, is_strict=True)


@pytest.mark.parametrize("is_strict", [True, False])
@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ([], "the top must be a schema: an object, not a list"),
        (None, "not null"),
        ("{}", "not a text"),
        (5, "not a number"),
        (False, "allows nothing"),
        (properties(a=5), "/properties/a must be a schema"),
        ({"properties": []}, "/properties must be an object of schemas, not a list"),
        ({"anyOf": {}}, "/anyOf must be a list of schemas"),
        ({"enum": []}, "Unsatisfiable"),
        ({"required": 5}, "required"),
        (properties(a={}) | {"required": [["a"]]}, "required"),
        ({"type": "integer", "minimum": 5, "maximum": 3}, "Unsatisfiable"),
        ({"type": "number", "minimum": 10**400}, "can't be enforced"),
        ({"type": "string", "minLength": -1}, "minLength"),
        ({"const": float("nan")}, "is no JSON"),
        ({"const": float("inf")}, "is no JSON"),
        ({"const": {1, 2}}, "is no JSON"),
        ({"const": "\ud800"}, "half a character"),
        ({"enum": ["x" * MOST_CHARACTERS]}, "longer than 131,072 characters"),
        (nested(MOST_DEPTH + 1), "nested more than"),
        (properties(**{f"p{number}": {} for number in range(MOST_PLACES)}), "more than 1000 properties"),
        ({"$ref": "https://example.org/schema.json"}, r"/\$ref names another document: .*never fetched"),
        ({"$ref": "file:///etc/passwd"}, "never fetched"),
        ({"$ref": "#/$defs/missing"}, r"names no schema in this document: #/\$defs/missing"),
        ({"$ref": "#anchor"}, "names no schema"),
        ({"$ref": "#/enum/0", "enum": [{}]}, "names no schema"),
        ({"$ref": 5}, "must be a text"),
        ({"$ref": "#"}, "the top requires itself"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "requires itself"),
        ({"allOf": [{"$ref": "#"}, {"type": "object"}]}, "requires itself"),
        (properties(a={"$ref": "#"}) | {"required": ["a"]}, "requires itself"),
        (
            {"type": "array", "items": {"$ref": "#"}, "minItems": 1},
            "requires itself",
        ),
        (properties(a={"$ref": "#/$defs/b"}) | {"$defs": {"b": {"anyOf": [B]}}}, "requires itself"),
    ],
)
def test_malformed_hostile_and_endless_schemas_are_refused(schema: Any, message: str, is_strict: bool):
    """Strict or not. Nothing is fetched, and nothing takes long."""
    with pytest.raises(UsageError, match=message):
        read_schema(schema, is_strict=is_strict)


def test_a_schema_deeper_than_python_recurses_is_refused():
    with pytest.raises(UsageError, match="nested too deep"):
        read_schema(nested(100_000), is_strict=True)


def test_what_is_not_strict_leaves_out_what_cannot_be_enforced_and_says_so():
    schema = read_schema(
        properties(a={"type": "string", "not": {}, "format": "uint32"}) | {"x-order": 1, "$id": "urn:x"},
        is_strict=False,
    )

    assert schema.relaxed == ("/properties/a/not", "/properties/a/format", "/x-order")
    assert json.loads(schema.text)["properties"] == {"a": {"type": "string"}}


def test_annotations_are_no_reason_to_refuse():
    """What Pydantic writes, for example."""
    schema = properties(a={"type": "string", "title": "A", "default": "x", "examples": ["y"]})
    read = read_schema(
        schema
        | {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "T", "description": "D"},
        is_strict=True,
    )

    assert read.relaxed == ()


def fits(vocabulary: Vocabulary, tokenizer: Tokenizer, schema: Schema, text: str) -> bool:
    """Whether the text may be an answer, token by token."""
    constraint = CompiledGrammar(vocabulary, schema.grammar)()
    for token in tokenizer.encode(text).ids:
        if not constraint.allowed()[token]:
            return False
        constraint.accept(token)
    return constraint.is_whole


@pytest.mark.parametrize(
    ("text", "is_fit"),
    [
        ('{"a": 1, "b": [true, null]}', True),
        ('{"a":1,"b":[true,null]}', True),
        ('{"a":  1}', False),
        ('{ "a": 1}', False),
        ('{\n  "a": 1\n}', False),
        (' {"a": 1}', False),
        ('{"a": 1} ', False),
        ('{"a": "\\u001f\\n\\\\\\""}', True),
        ('{"a": "\\ud800"}', False),
        ('{"a": "é鿘🙂"}', True),
        ('{"a": NaN}', False),
        ("[1]", False),
    ],
)
def test_whitespace_is_at_most_one_space_after_a_sign(
    vocabulary: Vocabulary, tokenizer: Tokenizer, text: str, is_fit: bool
):
    """Small models otherwise go on writing spaces. Half characters aren't allowed either."""
    assert fits(vocabulary, tokenizer, ANY_OBJECT, text) is is_fit


@pytest.mark.parametrize(
    ("schema", "text", "is_fit"),
    [
        (properties(a={"type": "integer"}), '{"a": 1}', True),
        (properties(a={"type": "integer"}), '{"a": 1, "b": 2}', False),
        (properties(a={}) | {"additionalProperties": True}, '{"a": 1, "b": 2}', True),
        (properties(a={}) | {"required": ["z"]}, '{"a": 1, "z": 2}', True),
        ({"allOf": [properties(a={}), properties(b={})]}, '{"a": 1, "b": 2}', True),
        (properties(a={}) | {"anyOf": [properties(b={})]}, '{"a": 1, "b": 2}', True),
        ({"type": "array", "items": [{"type": "null"}], "additionalItems": False}, "[null, 1]", False),
        ({"items": [{"type": "null"}], "additionalItems": {"type": "integer"}}, "[null, 1]", True),
        ({"$ref": "#/definitions/a%20b~1c", "definitions": {"a b/c": {"type": "null"}}}, "null", True),
        (True, "5", True),
        ({}, '"x"', True),
        ({"anyOf": [{"$ref": "#"}, {"type": "null"}]}, "null", True),
    ],
)
def test_objects_have_what_their_schema_lists_unless_it_says_more(
    vocabulary: Vocabulary, tokenizer: Tokenizer, schema: Any, text: str, is_fit: bool
):
    """Small models otherwise invent properties. Older drafts' tuples and references are understood."""
    read = read_schema(schema, is_strict=True)

    assert fits(vocabulary, tokenizer, read, text) is is_fit


def test_a_branch_may_overlap_if_the_schema_is_not_strict(vocabulary: Vocabulary, tokenizer: Tokenizer):
    schema = {"oneOf": [{"type": "string"}, {"type": "string", "maxLength": 3}]}

    assert fits(vocabulary, tokenizer, read_schema(schema, is_strict=False), '"ab"')
