"""The inputs of a reader, numbered: first every simple fault of every sample, then random ones endlessly."""

from __future__ import annotations

import random
from collections.abc import Sequence
from enum import Enum

from tests.fuzz.spoiling.edited_bytes import edited
from tests.fuzz.spoiling.edited_fields import edited_fields
from tests.fuzz.spoiling.edited_json import edited_json

MASKS = (0x01, 0x80, 0xFF)
"""Each byte of a sample is flipped in these bits."""
MOST_SYSTEMATIC_BYTES = 2000
"""Of one sample: behind them, what is spoiled is left to chance."""


class Form(Enum):
    """What the bytes are."""

    BYTES = "bytes"  # of any kind
    FIELDS = "fields"  # a message of Protocol Buffers
    JSON = "JSON"


class Spoiler:
    """Makes inputs of samples. The same seed and number give the same input, in every process."""

    def __init__(self, samples: Sequence[bytes], form: Form, seed: int) -> None:
        self._samples = samples
        self._form = form
        self._seed = seed
        self._systematic = [(len(MASKS) + 1) * min(len(one), MOST_SYSTEMATIC_BYTES) + 2 for one in samples]

    @property
    def systematic(self) -> int:
        """So many inputs, from 0 on, are simple faults; the samples as they are come first among them."""
        return sum(self._systematic)

    def input(self, number: int) -> bytes:
        """The input with this number."""
        for sample, count in zip(self._samples, self._systematic, strict=True):
            if number < count:
                return _simple(sample, number)
            number -= count
        chance = random.Random(self._seed << 48 ^ number)
        sample = chance.choice(self._samples)
        if self._form is Form.FIELDS and chance.random() < 0.7:
            return edited_fields(sample, chance, self._samples)
        if self._form is Form.JSON and chance.random() < 0.7:
            return edited_json(sample, chance, self._samples)
        return edited(sample, chance, self._samples)


def _simple(sample: bytes, number: int) -> bytes:
    """The sample, the sample twice, cut at every length, and with each byte flipped."""
    if number < 2:
        return sample * (number + 1)
    at, kind = divmod(number - 2, len(MASKS) + 1)
    if kind == len(MASKS):
        return sample[:at]
    return sample[:at] + bytes([sample[at] ^ MASKS[kind]]) + sample[at + 1 :]
