"""A Hugging Face folder as a source of weights: config, tokenizer and safetensors. Never pickle."""

from __future__ import annotations

import shutil
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2pinfer.errors import ModelError
from p2pinfer.model.formats.hf.configs import (
    CARD_FILE,
    CONFIG_FILE,
    GENERATION_CONFIG_FILE,
    INDEX_FILE,
    check_all_there,
    check_not_quantized,
    generation_fields,
    licence_of,
    parse_object,
    weight_files,
)
from p2pinfer.model.formats.hf.safetensors_header import read_header
from p2pinfer.model.formats.hf.sentence import MOST_BYTES, read_pooling
from p2pinfer.model.formats.hf.snapshot import hub_place
from p2pinfer.model.formats.hf.tensors import check_type, format_words, store_name
from p2pinfer.model.layer_store.names import POOLING_FILE, TOKENIZER_FILES
from p2pinfer.model.layer_store.origin import Origin, TensorPlace
from p2pinfer.model.layer_store.writer import json_text

_MOST_CARD_BYTES = 4 << 20


class HfFolder:
    """A `weights.WeightSource`. Tensors are read one slice at a time."""

    def __init__(self, folder: Path, name: str) -> None:
        """Raises ModelError if files are missing, pickled, already quantized or unreadable."""
        self.name = name
        self.remarks: list[str] = []
        self._folder = folder
        if not (folder / CONFIG_FILE).exists():
            raise ModelError(f"{folder} is no model folder: it has no {CONFIG_FILE}")
        self.config = _read_json(folder / CONFIG_FILE)
        check_not_quantized(self.config, str(folder))
        index = _read_json(folder / INDEX_FILE) if (folder / INDEX_FILE).is_file() else None
        files = weight_files(index)
        check_all_there(files, {path.name for path in folder.iterdir() if path.is_file()}, str(folder))
        self._readers = {folder / file: _open_safetensors(folder / file) for file in files}
        self._pooling, refusal = read_pooling(self._small_file, self.config)
        self.remarks += [refusal] if refusal else []
        self._places: dict[str, tuple[Path, str]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        for path, reader in self._readers.items():
            for stored in sorted(reader.keys()):
                self._add(path, stored)

    @cached_property
    def origin(self) -> Origin:
        """With the model's id and commit, if the folder is a snapshot in the Hugging Face cache."""
        headers = {path: read_header(path) for path in self._readers}
        tensors = {name: (path, headers[path][stored]) for name, (path, stored) in self._places.items()}
        hub_id, revision = hub_place(self._folder) or (None, None)
        return Origin.proper(
            words=format_words(tensor for _, tensor in tensors.values()),
            hub_id=hub_id,
            revision=revision,
            licence=self._licence(),
            tensors={
                name: TensorPlace(path.name, tensor.start, tensor.end)
                for name, (path, tensor) in tensors.items()
            },
        )

    @property
    def generation_config(self) -> dict[str, Any]:
        """generation_config.json without its library version, or the token ids of the config."""
        path = self._folder / GENERATION_CONFIG_FILE
        return generation_fields(self.config, _read_json(path) if path.is_file() else None)

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Rows [start, stop) of a tensor, as float32."""
        path, stored = self._places[name]
        values: NDArray[np.float32] = self._readers[path].get_slice(stored)[start:stop].float().numpy()
        return values

    def write_tokenizer(self, folder: Path) -> list[str]:
        """Copy the tokenizer's files as they are, and write down how an embedding model pools."""
        present = [name for name in TOKENIZER_FILES if (self._folder / name).is_file()]
        if not present:
            raise ModelError(f"{self._folder} has no tokenizer: none of {', '.join(TOKENIZER_FILES)}")
        for name in present:
            shutil.copyfile(self._folder / name, folder / name)
        if self._pooling is None:
            return present
        (folder / POOLING_FILE).write_text(json_text(self._pooling.to_json()), "utf-8")
        return [*present, POOLING_FILE]

    def _add(self, path: Path, stored: str) -> None:
        name = store_name(stored)
        if name is None:
            return
        slice_ = self._readers[path].get_slice(stored)
        check_type(path.name, stored, slice_.get_dtype())
        self._places[name] = (path, stored)
        self.shapes[name] = tuple(slice_.get_shape())

    def _small_file(self, name: str) -> bytes | None:
        path = self._folder / name
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return file.read(MOST_BYTES)

    def _licence(self) -> str | None:
        try:
            with (self._folder / CARD_FILE).open("rb") as card:
                return licence_of(card.read(_MOST_CARD_BYTES).decode("utf-8", "replace"))
        except OSError:
            return None


def _open_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is no complete safetensors file: {error}") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return parse_object(path.read_text("utf-8"), str(path))
    except OSError as error:
        raise ModelError(f"{path.parent} has no readable {path.name} ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ModelError(f"{path} is not JSON: {error}") from error
