"""A model on the hub as a source of weights: rows are fetched when they are asked for, and kept nowhere."""

from __future__ import annotations

import math
from collections.abc import Callable
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
from p2pinfer.model.formats.hf.safetensors_header import (
    FLOAT_BYTES,
    StoredTensor,
    header_bytes,
    parse_header,
)
from p2pinfer.model.formats.hf.sentence import MOST_BYTES, read_pooling
from p2pinfer.model.formats.hf.tensors import check_type, format_words, store_name
from p2pinfer.model.formats.hub.files import HubFiles
from p2pinfer.model.formats.hub.patience import PATIENCE, Patience
from p2pinfer.model.formats.hub.read_ahead import ReadAhead
from p2pinfer.model.formats.hub.received import ReceivedLines
from p2pinfer.model.formats.hub.repository import HubRepository
from p2pinfer.model.layer_store.names import POOLING_FILE, TOKENIZER_FILES
from p2pinfer.model.layer_store.origin import MOST_TENSORS, Origin, TensorPlace
from p2pinfer.model.layer_store.writer import json_text

FIRST_READ_BYTES = 1 << 16
"""Of each weight file: nearly every header is shorter, and so one question is enough."""

_MOST_CONFIG_BYTES = 4 << 20
_MOST_INDEX_BYTES = 64 << 20
_MOST_TOKENIZER_BYTES = 256 << 20
_MOST_WEIGHT_FILES = 2048
_MOST_BLOCK_BYTES = 1 << 30


class HubModel:
    """A `weights.WeightSource`. Same bytes as `HfFolder` on the downloaded repository."""

    def __init__(
        self,
        repository: HubRepository,
        progress: Callable[[str], None],
        *,
        on_received: Callable[[int], None] | None = None,
        patience: Patience | None = None,
    ) -> None:
        """Read configs and headers; the weights stay where they are.

        `progress` gets a line on the bytes received now and then; `on_received`, if it is given, gets the
        size of each piece instead. Both may be called from another thread.
        Raises ModelError if files are missing, pickled, already quantized or malformed, and
        HubUnreachableError.
        """
        self.name = repository.id
        self.remarks: list[str] = []
        self.repository = repository
        lines = ReceivedLines(progress)
        self._files = HubFiles(
            repository, patience=patience or PATIENCE, on_received=on_received or lines.add
        )
        self._ahead = ReadAhead(self._files.read)
        if CONFIG_FILE not in repository.files:
            raise ModelError(f"{self.name} is no model that p2pinfer reads: it has no {CONFIG_FILE}")
        self.config = self._json(CONFIG_FILE, _MOST_CONFIG_BYTES)
        check_not_quantized(self.config, self.name)
        self._pooling, refusal = read_pooling(self._small_file, self.config)
        self.remarks += [refusal] if refusal else []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._places: dict[str, tuple[str, StoredTensor]] = {}
        for file in self._weight_files():
            for stored, tensor in sorted(self._header(file).items()):
                self._add(file, stored, tensor)

    @cached_property
    def origin(self) -> Origin:
        """The id, the commit, and the place of every tensor."""
        return Origin.proper(
            words=format_words(tensor for _, tensor in self._places.values()),
            hub_id=self.repository.id,
            revision=self.repository.revision,
            licence=self._licence(),
            tensors={
                name: TensorPlace(file, tensor.start, tensor.end)
                for name, (file, tensor) in self._places.items()
            },
        )

    @cached_property
    def generation_config(self) -> dict[str, Any]:
        """generation_config.json without its library version, or the token ids of the config."""
        is_there = GENERATION_CONFIG_FILE in self.repository.files
        fields = self._json(GENERATION_CONFIG_FILE, _MOST_CONFIG_BYTES) if is_there else None
        return generation_fields(self.config, fields)

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Rows [start, stop) of a tensor, as float32. The next rows of a large one are fetched meanwhile."""
        file, tensor = self._places[name]
        row_bytes = math.prod(tensor.shape[1:]) * FLOAT_BYTES[tensor.kind]
        first, end = tensor.start + start * row_bytes, tensor.start + stop * row_bytes
        if end - first > _MOST_BLOCK_BYTES:
            raise ModelError(f"{name} of {self.name} has rows of {row_bytes:,} bytes")
        data = self._ahead.read(file, first, end, tensor.end)
        if len(data) < end - first:
            raise ModelError(f"{file} of {self.name} ends before {name} does")
        return _as_float32(tensor.kind, data).reshape(stop - start, *tensor.shape[1:])

    def write_tokenizer(self, folder: Path) -> list[str]:
        """Fetch the tokenizer's files as they are, and write down how an embedding model pools."""
        present = [name for name in TOKENIZER_FILES if name in self.repository.files]
        if not present:
            raise ModelError(f"{self.name} has no tokenizer: none of {', '.join(TOKENIZER_FILES)}")
        for name in present:
            (folder / name).write_bytes(self._files.whole(name, _MOST_TOKENIZER_BYTES))
        if self._pooling is None:
            return present
        (folder / POOLING_FILE).write_text(json_text(self._pooling.to_json()), "utf-8")
        return [*present, POOLING_FILE]

    def _small_file(self, name: str) -> bytes | None:
        if name not in self.repository.files:
            return None
        return self._files.whole(name, MOST_BYTES)

    def _weight_files(self) -> list[str]:
        has_index = INDEX_FILE in self.repository.files
        names = weight_files(self._json(INDEX_FILE, _MOST_INDEX_BYTES) if has_index else None)
        check_all_there(names, self.repository.files, self.name)
        if len(names) > _MOST_WEIGHT_FILES:
            raise ModelError(f"{self.name} has {len(names)} weight files")
        return names

    def _header(self, file: str) -> dict[str, StoredTensor]:
        where = f"{file} of {self.name}"
        data = self._files.read(file, 0, FIRST_READ_BYTES)
        file_bytes = self._files.size_bytes(file)
        end = header_bytes(bytes(data[:8]), file_bytes, where)
        if end > len(data):
            data += self._files.read(file, len(data), end)
        return parse_header(bytes(data[:end]), file_bytes, where)

    def _add(self, file: str, stored: str, tensor: StoredTensor) -> None:
        name = store_name(stored)
        if name is None:
            return
        check_type(file, stored, tensor.kind)
        if len(self._places) >= MOST_TENSORS:
            raise ModelError(f"{self.name} has more than {MOST_TENSORS} tensors")
        self._places[name] = (file, tensor)
        self.shapes[name] = tensor.shape

    def _licence(self) -> str | None:
        if CARD_FILE not in self.repository.files:
            return None
        return licence_of(self._files.whole(CARD_FILE, _MOST_CONFIG_BYTES).decode("utf-8", "replace"))

    def _json(self, name: str, most_bytes: int) -> dict[str, Any]:
        data = self._files.whole(name, most_bytes)
        try:
            return parse_object(data.decode("utf-8"), f"{name} of {self.name}")
        except UnicodeDecodeError as error:
            raise ModelError(f"{name} of {self.name} is not JSON: {error}") from error


def _as_float32(kind: str, data: bytearray) -> NDArray[np.float32]:
    """Numbers as a safetensors file has them, little-endian; float64 is rounded, as torch rounds it."""
    if kind == "BF16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << np.uint32(16)).view(np.float32)
    with np.errstate(over="ignore"):  # a number too large for float32 becomes infinite, and is refused later
        return np.frombuffer(data, {"F16": "<f2", "F32": "<f4", "F64": "<f8"}[kind]).astype(np.float32)
