"""Writes a GGUF file with the same weights in Q8_0, the eight-bit format of llama.cpp."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from p2pinfer.errors import StoreError


def q8_model(model_file: Path, cache_folder: Path, *, progress: Callable[[str], None]) -> Path:
    """Return `model_file` requantized to Q8_0, written now if it isn't in `cache_folder` yet.

    Every matrix is dequantized and rounded anew, one at a time; vectors (norms) stay float32, and the
    metadata with the tokenizer is copied. The file appears whole or not at all. Raises StoreError.
    """
    source = model_file.stat()
    path = cache_folder / f"{model_file.stem}-{source.st_size:x}-{source.st_mtime_ns:x}.Q8_0.gguf"
    if path.exists():
        return path
    progress(f"requantizing {model_file.name} to Q8_0 for llama.cpp")
    try:
        with tempfile.TemporaryDirectory(prefix="requantizing-", dir=cache_folder) as folder:
            _write(model_file, Path(folder) / "model")
            (Path(folder) / "model").replace(path)
    except OSError as error:
        raise StoreError(f"{path} can't be written: {error.strerror or error}") from error
    return path


def _write(source: Path, target: Path) -> None:
    import gguf

    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for field in reader.fields.values():
        # The writer has the architecture already, and counts what it writes itself.
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
            continue
        element = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], element)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        kind = gguf.GGMLQuantizationType.Q8_0 if values.ndim > 1 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(tensor.name, gguf.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
