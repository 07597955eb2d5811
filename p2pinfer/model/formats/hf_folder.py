"""A Hugging Face folder as a source of weights: config, tokenizer and safetensors. Never pickle."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2pinfer.errors import ModelError
from p2pinfer.model.families import text_config
from p2pinfer.model.layer_store.names import TOKENIZER_FILES
from p2pinfer.model.layer_store.origin import Origin

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
PICKLE_PATTERNS = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")

_PREFIX = re.compile(r"^(model\.language_model\.|language_model\.model\.|language_model\.|model\.)")
_DECODER_NAME = re.compile(r"^(layers\.\d+\..+|embed_tokens\.weight|norm\.(weight|bias)|lm_head\.weight)$")
_FLOAT_TYPES = ("F64", "F32", "F16", "BF16")


class HfFolder:
    """A `weights.WeightSource`. Tensors are read one slice at a time."""

    def __init__(self, folder: Path, name: str) -> None:
        """Raises ModelError if files are missing, pickled, already quantized or unreadable."""
        self.name = name
        self.remarks: list[str] = []
        self._folder = folder
        if not (folder / "config.json").exists():
            raise ModelError(f"{folder} is no model folder: it has no config.json")
        self.config = _read_json(folder / "config.json")
        if "quantization_config" in self.config:
            raise ModelError(f"{folder} is quantized already; convert from the original model instead")
        files = _weight_files(folder)
        self._readers = {path: _open_safetensors(path) for path in files}
        self._places: dict[str, tuple[Path, str]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        for path, reader in self._readers.items():
            for stored in reader.keys():  # noqa: SIM118 - a reader is no dict
                self._add(path, stored)

    @property
    def origin(self) -> Origin:
        """The format alone."""
        return Origin(format="safetensors")

    @property
    def generation_config(self) -> dict[str, Any]:
        """generation_config.json without its library version, or the token ids of the config."""
        path = self._folder / "generation_config.json"
        if path.is_file():
            fields = _read_json(path)
        else:
            own = {**self.config, **text_config(self.config)}
            fields = {name: own.get(name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
        return {
            name: value for name, value in fields.items() if name != "transformers_version" and name[0] != "_"
        }

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Rows [start, stop) of a tensor, as float32."""
        path, stored = self._places[name]
        values: NDArray[np.float32] = self._readers[path].get_slice(stored)[start:stop].float().numpy()
        return values

    def write_tokenizer(self, folder: Path) -> list[str]:
        """Copy the tokenizer's files as they are."""
        present = [name for name in TOKENIZER_FILES if (self._folder / name).is_file()]
        if not present:
            raise ModelError(f"{self._folder} has no tokenizer: none of {', '.join(TOKENIZER_FILES)}")
        for name in present:
            shutil.copyfile(self._folder / name, folder / name)
        return present

    def _add(self, path: Path, stored: str) -> None:
        name = _PREFIX.sub("", stored)
        if not _DECODER_NAME.match(name):
            return  # a vision tower or a rotary buffer, which the decoder layers don't need
        slice_ = self._readers[path].get_slice(stored)
        if slice_.get_dtype() not in _FLOAT_TYPES:
            raise ModelError(
                f"{path.name}: {stored} is stored as {slice_.get_dtype()}, and p2pinfer converts from "
                f"{', '.join(_FLOAT_TYPES)}: use the original model"
            )
        self._places[name] = (path, stored)
        self.shapes[name] = tuple(slice_.get_shape())


def _weight_files(folder: Path) -> list[Path]:
    if (folder / INDEX_FILE).is_file():
        names = set(_read_json(folder / INDEX_FILE).get("weight_map", {}).values())
        files = [folder / Path(str(name)).name for name in sorted(names)]
    else:
        files = [folder / WEIGHTS_FILE]
    missing = [path.name for path in files if not path.is_file()]
    if not missing:
        return files
    pickled = sorted(path.name for pattern in PICKLE_PATTERNS for path in folder.glob(pattern))
    if pickled:
        raise ModelError(
            f"{folder} holds pickled weights ({pickled[0]}). Loading a pickle can run any program, so "
            "p2pinfer reads safetensors only: use a revision of the model that has safetensors"
        )
    raise ModelError(f"{folder} has no {', '.join(missing)}")


def _open_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is no complete safetensors file: {error}") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ModelError(f"{path.parent} has no readable {path.name} ({error.strerror})") from error
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise ModelError(f"{path} holds no JSON object")
    return fields
