"""Inputs can be made again by their numbers, and no simple fault is left out."""

from __future__ import annotations

import json
import random

import pytest

from p2pinfer.wire.inference_pb2 import Downstream, Terms
from tests.fuzz.spoiling.edited_bytes import edited
from tests.fuzz.spoiling.edited_fields import edited_fields, fields_of, varint, written
from tests.fuzz.spoiling.edited_json import edited_json
from tests.fuzz.spoiling.spoiler import MASKS, Form, Spoiler

TERMS = Terms(
    session_id=bytes(16), model="m", rows=300, issued_at=1.5, downstream=Downstream(record=b"record")
).SerializeToString()
JSON = json.dumps({"a": [1, 2.5, None, {"b": "text"}], "c": True}).encode()


@pytest.mark.parametrize("form", Form)
def test_a_number_and_a_seed_give_the_same_input_and_another_seed_another_one(form: Form):
    one, same, other = (Spoiler([TERMS, JSON], form, seed) for seed in (1, 1, 2))
    numbers = range(one.systematic, one.systematic + 200)

    assert [one.input(number) for number in numbers] == [same.input(number) for number in numbers]
    assert sum(one.input(number) == other.input(number) for number in numbers) < 20


def test_every_byte_is_flipped_and_every_sample_is_doubled_and_cut_at_every_length():
    samples = [b"abc", b"defgh"]
    spoiler = Spoiler(samples, Form.BYTES, 1)
    found = {spoiler.input(number) for number in range(spoiler.systematic)}

    assert set(samples) | {2 * sample for sample in samples} <= found
    assert {sample[:length] for sample in samples for length in range(len(sample))} <= found
    for sample in samples:
        for at in range(len(sample)):
            for mask in MASKS:
                assert sample[:at] + bytes([sample[at] ^ mask]) + sample[at + 1 :] in found


def test_a_message_is_taken_apart_and_put_together():
    assert written(fields_of(TERMS)) == TERMS
    assert fields_of(b"\xff") == fields_of(b"\x00\x01") == fields_of(TERMS[:-1]) == []
    assert [varint(number) for number in (0, 127, 128, 2**64 - 1)] == [
        b"\0",
        b"\x7f",
        b"\x80\x01",
        b"\xff" * 9 + b"\x01",
    ]


def test_edited_messages_are_messages_and_edited_json_is_json_mostly():
    chance = random.Random(1)
    messages = [edited_fields(TERMS, chance, [TERMS]) for _ in range(300)]
    texts = [edited_json(JSON, chance, [JSON]) for _ in range(300)]

    assert sum(bool(fields_of(data)) for data in messages) > 290
    assert sum(_is_json(data) for data in texts) > 200
    assert len(set(messages)) > 200 and len(set(texts)) > 200


def test_whatever_is_edited_stays_small():
    chance = random.Random(1)

    assert max(len(edited(TERMS, chance, [TERMS])) for _ in range(2000)) < 100_000


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True
