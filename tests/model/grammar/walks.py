"""Answers of a model that knows nothing: random scores, and what a grammar leaves of them."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from p2pinfer.model.grammar.constraint import CompiledGrammar

MOST_TOKENS = 2000
_CLOSING = {"}": 2.0, "]": 2.0, '"': 1.0}


def closing_scores(tokenizer: Tokenizer, end_token: int) -> np.ndarray:
    """How much each token helps to come to an end, [vocab_size]."""
    scores = np.zeros(tokenizer.get_vocab_size(), np.float32)
    for token in range(len(scores)):
        scores[token] = _CLOSING.get(tokenizer.decode([token]).lstrip()[:1], 0.0)
    scores[end_token] = 3.0
    return scores


def random_answer(grammar: CompiledGrammar, tokenizer: Tokenizer, closing: np.ndarray, seed: int) -> str:
    """Follow random scores, more and more in a hurry to end. Fails if the answer doesn't end."""
    noise = np.random.default_rng(seed)
    constraint, tokens = grammar(), []
    for step in range(MOST_TOKENS):
        if constraint.is_done:
            return tokenizer.decode(tokens, skip_special_tokens=False)
        allowed = constraint.allowed()
        scores = noise.standard_normal(len(allowed), np.float32) + closing[: len(allowed)] * step * 0.1
        token = int(np.argmax(np.where(allowed, scores, -np.inf)))
        constraint.accept(token)
        if token != 2:
            tokens.append(token)
    raise AssertionError(f"no end after {MOST_TOKENS} tokens: {tokenizer.decode(tokens)[:500]}")


def random_schema(seed: int) -> dict[str, Any]:
    """A schema with some of everything that grammars enforce."""
    chance = random.Random(seed)
    schema = _random_part(chance, 3)
    schema["$defs"] = {"node": _NODE}
    return schema


_NODE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "value": {"type": "integer"},
        "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
    },
    "required": ["value", "next"],
    "additionalProperties": False,
}


def _random_part(chance: random.Random, depth: int) -> dict[str, Any]:
    kinds = ["text", "number", "enum", "ref"] + ["object", "list", "tuple", "either", "map"] * (depth > 0)
    match chance.choice(kinds if depth < 3 else kinds[4:]):
        case "text":
            return chance.choice(
                [
                    {"type": "string"},
                    {"type": "string", "minLength": 2, "maxLength": 9},
                    {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"},
                    {"type": "string", "format": chance.choice(["date", "uuid", "ipv4", "date-time"])},
                    {"type": ["string", "null"]},
                ]
            ).copy()
        case "number":
            return chance.choice(
                [
                    {"type": "integer", "minimum": -5, "maximum": 120},
                    {"type": "number", "exclusiveMinimum": 0, "maximum": 1.5},
                    {"type": "integer", "multipleOf": 5, "minimum": 0, "maximum": 1000},
                    {"type": "boolean"},
                ]
            ).copy()
        case "enum":
            return {"enum": chance.sample(["a", 'quo"te', "é\n", 5, None, True, 1.5, ["x"], {"k": "v"}], 4)}
        case "ref":
            return {"$ref": "#/$defs/node"}
        case "object":
            names = chance.sample(["id", "na me", "ünï", 'q"', "a/b~c", "items"], chance.randint(1, 5))
            return {
                "type": "object",
                "properties": {name: _random_part(chance, depth - 1) for name in names},
                "required": names[: chance.randint(0, len(names))],
                "additionalProperties": False,
            }
        case "list":
            fewest = chance.randint(0, 2)
            return {
                "type": "array",
                "items": _random_part(chance, depth - 1),
                "minItems": fewest,
                "maxItems": fewest + chance.randint(0, 3),
            }
        case "tuple":
            parts = [_random_part(chance, depth - 1) for _ in range(2)]
            return {"type": "array", "prefixItems": parts, "items": False, "minItems": 2}
        case "either":
            return {"anyOf": [_random_part(chance, depth - 1), {"type": "null"}]}
        case _:
            return {"type": "object", "additionalProperties": _random_part(chance, depth - 1)}
