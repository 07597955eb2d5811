"""How a GGUF file is quantized, and where its tensors lie."""

from __future__ import annotations

from pathlib import Path

from p2pinfer.model.formats.gguf.file import GgufFile
from p2pinfer.model.formats.gguf.kinds import quantization, stored_bytes
from p2pinfer.model.formats.gguf.reader import GgufTensor, read_header
from tests.model.formats.gguf.tiny_gguf import plain_model, write_gguf


def test_the_file_says_how_it_is_quantized(smollm2_file: Path):
    """And its licence, and where its tensors lie: the last one ends where the file does."""
    origin = GgufFile(smollm2_file).origin

    assert (origin.format, origin.hub_id, origin.licence) == ("GGUF Q4_1", None, "apache-2.0")
    assert max(place.end for place in origin.tensors.values()) == smollm2_file.stat().st_size
    assert len(origin.tensors) == len(read_header(smollm2_file).tensors)


def test_a_file_that_does_not_say_it_is_called_by_the_type_of_most_weights(tmp_path: Path):
    few, many = GgufTensor((32,), 0, 0), GgufTensor((64, 32), 8, 128)

    assert quantization({}, [few, many]) == "Q8_0"
    assert quantization({"general.file_type": 10**6}, [few, many]) == "Q8_0"
    assert quantization({"general.file_type": 15}, [few, many]) == "Q4_K_M"
    assert quantization({}, [GgufTensor((32,), 999, 0)]) == "of an unknown type"


def test_the_size_of_a_tensor_follows_from_its_blocks():
    assert stored_bytes(GgufTensor((64, 32), 8, 0)) == 64 * 34
    assert stored_bytes(GgufTensor((64, 32), 999, 0)) is None


def test_a_converted_folder_and_its_gguf_file_have_the_same_tensors(tmp_path: Path):
    folder = plain_model(tmp_path / "m", "qwen3")
    write_gguf(folder, tmp_path / "m.gguf", "qwen3")
    source = GgufFile(tmp_path / "m.gguf")

    assert source.origin.tensors.keys() == source.shapes.keys()
