"""A manifest against the original: what is compared, and what a difference is called."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import pytest

from p2pinfer.model.formats.hf_folder import HfFolder
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.model.layer_store.names import ENDS_FILE, layer_file
from p2pinfer.model.source import convert_model
from p2pinfer.model.verification import verify
from tests.model.tiny_models import save_tiny_model


def silent(line: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny_model(tmp_path / "model", "llama")


@pytest.fixture
def manifest(folder: Path, tmp_path: Path) -> Manifest:
    return convert_model(str(folder), tmp_path / "store", silent).manifest


def altered(manifest: Manifest, name: str) -> Manifest:
    """As if somebody had trained this file a little further."""
    entry = dataclasses.replace(manifest.files[name], sha256="0" * 64)
    return dataclasses.replace(manifest, files={**manifest.files, name: entry})


def test_the_original_is_equal(manifest: Manifest, folder: Path):
    found = verify(manifest, HfFolder(folder, "tiny"), silent)

    assert found.different is None
    assert sorted(found.equal) == sorted(manifest.files)
    assert found.layers == 4


@pytest.mark.parametrize(
    "name", ["config.json", "generation_config.json", "tokenizer.json", ENDS_FILE, *map(layer_file, range(4))]
)
def test_a_file_that_was_altered_is_named(manifest: Manifest, folder: Path, name: str):
    assert verify(altered(manifest, name), HfFolder(folder, "tiny"), silent).different == name


def test_a_sample_compares_some_layers_and_all_that_is_no_layer(manifest: Manifest, folder: Path):
    found = verify(manifest, HfFolder(folder, "tiny"), silent, sample=2, chance=random.Random(7))

    assert found.layers == 2
    assert len(found.equal) == len(manifest.files) - 2
    assert ENDS_FILE in found.equal


def test_nobody_can_foresee_a_sample(manifest: Manifest, folder: Path):
    """Seeding the default generator doesn't help."""
    samples = set()
    for _ in range(20):
        random.seed(1)
        samples.add(verify(manifest, HfFolder(folder, "tiny"), silent, sample=1).equal[-1])

    assert len(samples) > 1


def test_a_tokenizers_file_that_only_one_of_them_has_is_a_difference(manifest: Manifest, folder: Path):
    entry = manifest.files["tokenizer.json"]
    more = dataclasses.replace(manifest, files={**manifest.files, "chat_template.jinja": entry})
    found = verify(more, HfFolder(folder, "tiny"), silent)

    assert found.different == "chat_template.jinja"
