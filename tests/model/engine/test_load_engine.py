"""Which engine runs a span, and the message if the requested engine can't."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from p2pinfer.errors import StoreError, UsageError
from p2pinfer.model.engine import load_engine, numerics_class
from p2pinfer.model.engine.native import engine as native
from p2pinfer.model.layer_store.names import layer_file
from p2pinfer.types import Span
from tests.model.tiny_models import tiny_store


def test_the_native_engine_runs_where_it_is_built(tmp_path: Path):
    """Without it the reference engine runs."""
    engine = load_engine(tiny_store(tmp_path, "qwen3"), Span(1, 3))

    assert engine.numerics.startswith("native" if native.available() else "reference")
    assert engine.span == Span(1, 3)
    assert engine.hidden_size == 32


@pytest.mark.parametrize("family", ["qwen3", "starcoder2"])
@pytest.mark.parametrize("engine", ["auto", "reference"])
def test_the_numerics_class_is_known_before_anything_is_loaded(tmp_path: Path, family: str, engine: str):
    """A server counts those that compute like itself before it chooses its layers."""
    store = tiny_store(tmp_path, family)

    assert numerics_class(store, engine=engine) == load_engine(store, Span(0, 1), engine=engine).numerics


def test_a_family_that_is_not_native_runs_on_the_reference_engine(tmp_path: Path):
    assert load_engine(tiny_store(tmp_path, "starcoder2"), Span(0, 1)).numerics.startswith("reference")


def test_forcing_the_native_engine_on_another_family_says_why_not(tmp_path: Path):
    with pytest.raises(UsageError, match=r"native engine can't be used: .*use --engine auto"):
        load_engine(tiny_store(tmp_path, "starcoder2"), Span(0, 1), engine="native")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_without_a_cuda_device_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="no CUDA device"):
        load_engine(tiny_store(tmp_path, "llama"), Span(0, 1), device="cuda")


def test_unknown_engines_and_devices_are_refused(tmp_path: Path):
    store = tiny_store(tmp_path, "llama")
    for wrong in ({"engine": "fast"}, {"device": "tpu"}):
        with pytest.raises(UsageError, match="engines are auto, native, reference and devices"):
            load_engine(store, Span(0, 1), **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ["auto", "reference"])
def test_only_the_layers_of_the_span_are_opened(tmp_path: Path, engine: str):
    """The files of other layers and of the ends may be missing."""
    store = tiny_store(tmp_path, "llama")
    for name in store.manifest.files:
        if name.endswith(".safetensors") and name not in (layer_file(1), layer_file(2)):
            (store.folder / name).unlink()

    assert load_engine(store, Span(1, 3), engine=engine).span == Span(1, 3)


@pytest.mark.parametrize("engine", ["auto", "reference"])
def test_an_altered_layer_is_not_loaded(tmp_path: Path, engine: str):
    """One flipped bit is enough."""
    store = tiny_store(tmp_path, "llama")
    path = store.folder / layer_file(1)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)

    with pytest.raises(StoreError, match=r"00001.safetensors was altered.*convert again"):
        load_engine(store, Span(1, 2), engine=engine)


@pytest.mark.skipif(not native.available(), reason="the native engine isn't built here")
def test_a_store_runs_natively_without_torch_or_transformers(tmp_path: Path):
    """They take seconds to import and 300 MB; a server and a client's ends need neither."""
    store = tiny_store(tmp_path, "gemma3_text")
    program = (
        "import sys, numpy; from pathlib import Path; from p2pinfer.model.source import open_model\n"
        "from p2pinfer.model.ends import ClientEnds; from p2pinfer.model.engine import load_engine\n"
        "from p2pinfer.model.engine.base import Chunk\n"
        "store = open_model(sys.argv[1], cache_folder=Path('unused'), progress=print); store.verify()\n"
        "engine, ends = load_engine(store, store.span), ClientEnds.load(store)\n"
        "ends.logits(engine.forward([Chunk(engine.new_cache(), ends.embed(numpy.arange(9)))])[0])\n"
        "print([name for name in ('torch', 'transformers', 'safetensors') if name in sys.modules])"
    )
    command = [sys.executable, "-c", program, str(store.folder)]

    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"
