"""What a stranger calls a manifest is looked at before it is parsed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from p2pinfer.errors import StoreError
from p2pinfer.model.layer_store.chunks import FileEntry
from p2pinfer.model.layer_store.manifest import Manifest, hash_of
from p2pinfer.model.layer_store.names import CONFIG_FILE, ENDS_FILE, MAX_LAYERS, layer_file
from p2pinfer.model.layer_store.origin import MOST_TENSORS, Origin, TensorPlace
from p2pinfer.model.layer_store.outline import Outline, check_outline


def largest_manifest() -> Manifest:
    """As many layers and tensors as there may be, and a name with whatever may be in one."""
    entry = FileEntry("ab" * 32, 5, ("cd" * 32,))
    files = dict.fromkeys((CONFIG_FILE, ENDS_FILE, *map(layer_file, range(MAX_LAYERS))), entry)
    place = TensorPlace("model-00001-of-00002.safetensors", 0, 5)
    return Manifest(
        hash=hash_of(files),
        name='[{"\\":,' * 16,
        model_type="llama",
        num_layers=MAX_LAYERS,
        hidden_size=1,
        vocab_size=1,
        max_positions=1,
        files=files,
        origin=Origin(format="é[" * 64, tensors={f"t.{n}": place for n in range(MOST_TENSORS // 8)}),
    )


def test_the_largest_manifest_passes():
    """Whatever the model is called."""
    manifest = largest_manifest()
    text = manifest.to_json()

    check_outline(text.encode())
    check_outline(replace(manifest, name="]]]}").to_json().encode())
    check_outline(json.dumps(json.loads(text), separators=(",", ":")).encode())


@pytest.mark.parametrize(
    "bomb",
    [
        b"[" + b'{"":0},' * 1_000_000 + b"0]",
        b"[" + b"0," * 2_000_000 + b"0]",
        b"[" * 1_000_000,
        b"[" * 6 + b"]" * 6,
        b'{"a":' * 6 + b"0" + b"}" * 6,
        b'"\\\\",' + b"[" * 6,
        b'"' + b"\\u0041" * 10_000 + b'"',
    ],
)
def test_a_text_that_would_take_much_to_parse_is_refused(bomb: bytes):
    """Tiny objects, numbers, lists within lists, escapes."""
    with pytest.raises(StoreError):
        check_outline(bomb)


def test_it_is_refused_as_soon_as_too_much_has_come():
    """Nobody has to wait for the end."""
    outline, part = Outline(), b'{"":0},' * 7000
    for _ in range(49):
        outline.add(part)
    with pytest.raises(StoreError):
        outline.add(part)


def test_no_text_at_all_is_for_the_parser():
    """It says what is wrong."""
    check_outline(b"")
    check_outline(b"\xff\xfe[")
