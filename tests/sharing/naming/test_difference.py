"""Two conversions of the same model: how they differ."""

from __future__ import annotations

from dataclasses import replace

import pytest

from p2pinfer.model.layer_store.chunks import FileEntry
from p2pinfer.model.layer_store.origin import Origin
from p2pinfer.sharing.naming.difference import ModelFacts, difference, facts_of
from tests.fakes import fake_manifest

HUB = Origin(format="safetensors BF16", hub_id="Qwen/Qwen2", revision="a" * 40)
OURS = ModelFacts(name="Qwen2", num_layers=28, origin=HUB, size_bytes=1_500_000_000)


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (OURS, ""),
        (replace(OURS, origin=None, size_bytes=None), ""),
        (
            replace(OURS, origin=replace(HUB, revision="b" * 40)),
            "of revision bbbbbbbbbbbb instead of aaaaaaaaaaaa",
        ),
        (
            replace(OURS, origin=replace(HUB, revision=None)),
            "of revision unknown instead of aaaaaaaaaaaa",
        ),
        (
            replace(OURS, origin=Origin(format="GGUF Q4_1")),
            "from local files instead of Qwen/Qwen2, and made from GGUF Q4_1 instead of safetensors BF16",
        ),
        (replace(OURS, origin=replace(HUB, format="")), ""),
        (replace(OURS, num_layers=1, size_bytes=1), "1 layer instead of 28"),
        (replace(OURS, size_bytes=2_000_000_000), "2.0 GB instead of 1.5 GB"),
        (
            replace(OURS, size_bytes=1_500_000_001),
            "1.5 GB instead of 1,500,000,000 B (theirs has 1,500,000,001 B)",
        ),
        (
            replace(OURS, name="\x1b[2J", num_layers=3),
            "called ?[2J instead of Qwen2, and 3 layers instead of 28",
        ),
    ],
)
def test_what_differs_is_said_in_words(theirs: ModelFacts, words: str):
    assert difference(theirs, OURS) == words


def test_the_facts_of_a_manifest_are_those_that_it_tells():
    manifest = replace(
        fake_manifest(3), files={"a": FileEntry("", 5, ()), "b": FileEntry("", 7, ())}, origin=HUB
    )

    assert facts_of(manifest) == ModelFacts(name="fake", num_layers=3, origin=HUB, size_bytes=12)
