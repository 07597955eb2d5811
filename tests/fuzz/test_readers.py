"""Whatever bytes a stranger sends, each reader says what they are or raises its own error: a short form.

`scripts/bench_fuzz` tries millions.
"""

from __future__ import annotations

import logging

import pytest

from tests.fuzz.all_readers import READERS
from tests.fuzz.spoiling.spoiler import Spoiler
from tests.fuzz.trying import tried

INPUTS = 100
SLOW = {
    "believed-records": 20, "chat-templates": 16, "gguf": 20, "journals": 20, "own-files": 20, "policies": 40,
    "tokenizers": 40,
}  # fmt: skip
"""They write files, or build something."""


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", READERS)
def test_any_bytes_are_read_or_refused_by_the_readers_own_error(name: str, caplog: pytest.LogCaptureFixture):
    """Half of them have one byte flipped or are cut, the others are edited at random."""
    caplog.set_level(logging.CRITICAL)
    reader = READERS[name]()
    for sample in reader.samples:
        reader.read(sample)

    spoiler, half = Spoiler(reader.samples, reader.form, seed=1), SLOW.get(name, INPUTS) // 2
    simple = range(0, spoiler.systematic, max(1, spoiler.systematic // half))
    tally = tried(reader, spoiler, [*simple, *range(spoiler.systematic, spoiler.systematic + half)])

    assert tally.defects == {}
    assert tally.inputs >= 2 * half
