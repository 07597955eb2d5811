"""Compares a manifest with the model that it claims to be: converts again, and keeps nothing.

Everything but the layers is always compared. Of the layers a sample may do: whoever has altered one can't
foresee which are drawn.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from p2pinfer.model.conversion import write_small_files
from p2pinfer.model.converter import Converter
from p2pinfer.model.formats.weights import WeightSource
from p2pinfer.model.layer_store.chunks import FileDigest, FileEntry
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.model.layer_store.names import (
    CONFIG_FILE,
    ENDS_FILE,
    GENERATION_CONFIG_FILE,
    POOLING_FILE,
    TOKENIZER_FILES,
    layer_file,
)
from p2pinfer.model.layer_store.tensors import tensors_entry

_SMALL_FILES = (CONFIG_FILE, GENERATION_CONFIG_FILE, *TOKENIZER_FILES, POOLING_FILE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a verification found."""

    equal: tuple[str, ...]  # the files that were converted again and are as the manifest says
    different: str | None  # the first file that isn't; nothing behind it was compared
    layers: int  # how many layers were to be compared


def verify(
    manifest: Manifest,
    source: WeightSource,
    progress: Callable[[str], None],
    *,
    sample: int | None = None,
    chance: random.Random | None = None,
) -> Comparison:
    """Convert a source again, in memory, and compare with a manifest, up to the first file that differs.

    `sample` is the number of layers, drawn by `chance` (default: the system's randomness); None: all.
    Raises ModelError if the source can't be converted.
    """
    layers = list(range(manifest.num_layers))
    if sample is not None and sample < len(layers):
        layers = sorted((chance or random.SystemRandom()).sample(layers, sample))
    equal: list[str] = []
    different = None
    for name, entry in _entries(manifest, source, layers, progress):
        if manifest.files.get(name) != entry:
            different = name
            break
        if entry is not None:
            equal.append(name)
    return Comparison(equal=tuple(equal), different=different, layers=len(layers))


def _entries(
    manifest: Manifest, source: WeightSource, layers: list[int], progress: Callable[[str], None]
) -> Iterator[tuple[str, FileEntry | None]]:
    """What the source gives for each file, one after the other. None: no such file."""
    progress(f"reading {source.name}")
    with tempfile.TemporaryDirectory() as folder:
        write_small_files(source, Path(folder), _SMALL_FILES)
        for name in _SMALL_FILES:
            yield name, _entry_of(Path(folder) / name)
    converter = Converter(source)
    progress(f"comparing {ENDS_FILE}")
    yield ENDS_FILE, tensors_entry(converter.tensors(ENDS_FILE))
    for number, layer in enumerate(layers, 1):
        progress(f"comparing layer {layer}, {number} of {len(layers)}")
        yield layer_file(layer), tensors_entry(converter.tensors(layer_file(layer)))


def _entry_of(path: Path) -> FileEntry | None:
    if not path.is_file():
        return None
    digest = FileDigest()
    digest.update(path.read_bytes())
    return digest.entry()
