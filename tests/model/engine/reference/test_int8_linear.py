"""The linear layer of the reference engine, by itself and in a model of odd sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from p2pinfer.model.engine.reference.int8_linear import Int8Linear, rotated
from tests.model.tiny_models import (
    oracle,
    oracle_run,
    random_ids,
    reference,
    relative_difference,
    run_in_pieces,
    tiny_store,
)


@pytest.mark.parametrize("offset", [0, 1, 4, 8, 16, 24])
@pytest.mark.parametrize(("outputs", "inputs"), [(90, 160), (160, 90), (3, 16), (1, 7)])
def test_weights_may_begin_at_any_byte(offset: int, outputs: int, inputs: int):
    """A store's weights are a view of its file. torch's AVX-512 kernel needs an address divisible by 16."""
    random = np.random.default_rng(0)
    memory = np.empty(128 + outputs * inputs, np.int8)
    start = -memory.ctypes.data % 64 + offset
    view = memory[start : start + outputs * inputs].reshape(outputs, inputs)
    view[:] = random.integers(-127, 128, view.shape)
    scales = random.random(outputs, np.float32)
    linear = Int8Linear(torch.from_numpy(view), torch.from_numpy(scales), None)
    x = torch.from_numpy(random.normal(size=(5, inputs)).astype(np.float32))
    expected = rotated(x).bfloat16().float() @ torch.from_numpy(view).float().T * torch.from_numpy(scales)

    assert linear.quantized.data_ptr() % 16 == 0
    assert relative_difference(linear(x).numpy(), expected.numpy()) < 1e-2


@pytest.mark.parametrize(
    ("hidden", "intermediate", "heads", "kv_heads"),
    [(90, 160, 9, 3), (90, 160, 5, 5), (90, 170, 9, 9), (66, 48, 3, 1), (30, 16, 3, 3)],
)
def test_a_model_of_odd_sizes_runs(tmp_path: Path, hidden: int, intermediate: int, heads: int, kv_heads: int):
    """The float32 tensors before the weights take a number of bytes that is no multiple of 16."""
    store = tiny_store(
        tmp_path,
        "llama",
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
    )
    into, expected, _ = oracle_run(oracle(store, rounding=True), random_ids(23))
    engine = reference(store)
    whole = run_in_pieces(engine, into, [23])

    assert relative_difference(whole, expected) < 2e-2
    np.testing.assert_array_equal(run_in_pieces(engine, into, [7, 1, 9, 6]), whole)
