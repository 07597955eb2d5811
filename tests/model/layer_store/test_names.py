"""The names of a store's files, in words."""

from __future__ import annotations

import pytest

from p2pinfer.model.layer_store.names import CONFIG_FILE, ENDS_FILE, in_words, layer_file, layer_files
from p2pinfer.types import Span


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([ENDS_FILE], "the ends"),
        (layer_files(Span(3, 6)), "layers 3:6"),
        ([layer_file(1), layer_file(4)], "2 layers"),
        ([layer_file(1), CONFIG_FILE], "2 files"),
    ],
)
def test_files_are_described_for_people(names: list[str], words: str):
    assert in_words(names) == words
