"""A model on disk as INT8 layers: one file per decoder layer, one file for both ends, and a manifest.

Opening reads only the manifest and the config. A server then reads the files of its own layers, a client
the file of the ends. Every file is first compared with the manifest's SHA-256. A store may be partial: of
the files that its manifest lists, any but the config may be missing, and sharing/ can fetch them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2pinfer.errors import StoreError
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.model.layer_store.names import CONFIG_FILE, ENDS_FILE, MANIFEST_FILE, layer_file
from p2pinfer.model.layer_store.search import read_manifest
from p2pinfer.model.layer_store.tensors import Tensors, read_tensors, read_verified
from p2pinfer.outside.plain_json import read_json
from p2pinfer.types import Span

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


class LayerStore:
    """The INT8 layers of one model. Make one with `open`."""

    def __init__(self, folder: Path, manifest: Manifest, config: dict[str, Any]) -> None:
        self.folder = folder
        self.manifest = manifest
        self.config_fields = config
        """config.json, with every field of the family, so that readers need no library."""

    @classmethod
    def open(cls, folder: Path) -> LayerStore:
        """Read manifest and config. Raises StoreError if they are missing, altered or don't agree."""
        manifest = read_manifest(folder / MANIFEST_FILE)
        try:
            config = read_json(read_verified(folder / CONFIG_FILE, manifest.files[CONFIG_FILE]).tobytes())
        except ValueError as error:
            raise StoreError(f"{folder / CONFIG_FILE} is not JSON: {error}") from error
        if not isinstance(config, dict):
            raise StoreError(f"{folder / CONFIG_FILE} holds no JSON object")
        store = cls(folder, manifest, config)
        store._check_config()
        return store

    @staticmethod
    def is_store(folder: Path) -> bool:
        """True if the folder claims to be a layer store."""
        return (folder / MANIFEST_FILE).is_file()

    @property
    def span(self) -> Span:
        """All layers of the model."""
        return Span(0, self.manifest.num_layers)

    def has(self, name: str) -> bool:
        """True if a file is here with the size that the manifest says. Reading it checks its bytes."""
        try:
            return (self.folder / name).stat().st_size == self.manifest.files[name].bytes
        except OSError:
            return False

    def is_intact(self, name: str) -> bool:
        """True if a file is here with the bytes that the manifest says. Reads all of it."""
        try:
            read_verified(self.folder / name, self.manifest.files[name])
        except StoreError:
            return False
        return True

    def missing(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of the files that are not here."""
        return tuple(name for name in names if not self.has(name))

    def layer_tensors(self, layer: int) -> Tensors:
        """Weights of one decoder layer; opens only that layer's file.

        Keys are the parameter names within the layer. A linear weight is int8 [out, in] and has a
        `<name>_scale`, float32 [out], beside it: weight = int8 * scale. All others are float32.
        """
        if layer not in self.span:
            raise StoreError(f"{self.manifest.name} has layers {self.span}, not layer {layer}")
        return self._tensors(layer_file(layer))

    def ends_tensors(self) -> Tensors:
        """Embeddings, final norm and, unless the embeddings serve as head too, the head."""
        return self._tensors(ENDS_FILE)

    def layer_bytes(self, span: Span) -> int:
        """Bytes on disk of the layers of a span. Their weights take the same in memory."""
        return sum(self.manifest.files[layer_file(layer)].bytes for layer in range(span.start, span.end))

    def verify(self, span: Span | None = None) -> None:
        """Compare the files of a span's layers, or all files, with the manifest.

        Raises StoreError naming the first file that is missing or altered.
        """
        for name in self._files_of(span):
            read_verified(self.folder / name, self.manifest.files[name])

    def config(self) -> PreTrainedConfig:
        """The config as an object of `transformers`, which this call imports."""
        from p2pinfer.model.families import transformers_config

        return transformers_config(self.config_fields)

    def _tensors(self, name: str) -> Tensors:
        return read_tensors(self.folder / name, self.manifest.files[name])

    def _files_of(self, span: Span | None) -> Iterator[str]:
        if span is None:
            yield from self.manifest.files
        elif not span.within(self.span):
            raise StoreError(f"{self.manifest.name} has layers {self.span}, not {span}")
        else:
            yield from (layer_file(layer) for layer in range(span.start, span.end))

    def _check_config(self) -> None:
        manifest, config = self.manifest, self.config_fields
        said = (manifest.model_type, manifest.num_layers, manifest.hidden_size, manifest.vocab_size)
        fields = ("model_type", "num_hidden_layers", "hidden_size", "vocab_size")
        if said != tuple(config.get(field) for field in fields):
            raise StoreError(f"{self.folder}: {MANIFEST_FILE} and {CONFIG_FILE} describe different models")
