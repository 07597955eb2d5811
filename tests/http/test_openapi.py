"""What a page says of an API."""

from __future__ import annotations

import pytest

from p2pinfer.http.openapi import type_word


@pytest.mark.parametrize(
    ("rules", "word"),
    [
        ({}, "anything"),
        ({"$ref": "#/components/schemas/Message"}, "Message"),
        ({"type": "array"}, "list of anything"),
        ({"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]}, "[string, integer]"),
        ({"anyOf": [{"type": "number"}, {"type": "null"}]}, "number or null"),
    ],
)
def test_a_type_is_a_few_words(rules: dict, word: str):
    assert type_word(rules) == word
