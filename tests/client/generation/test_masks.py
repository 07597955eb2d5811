"""Masks and positions: used as transformers uses them, or refused."""

from __future__ import annotations

import pytest
import torch

from p2pinfer.errors import UsageError
from tests.client.generation.inputs import CLOSE, GREEDY, padded, tokens
from tests.client.tiny_swarm import tiny_model_in_a_swarm
from tests.model.tiny_models import tiny_store


@pytest.mark.parametrize("dtype", [torch.long, torch.int32, torch.float32, torch.bfloat16, torch.bool])
def test_logits_of_a_padded_batch_are_transformers_own_whatever_the_masks_type(model, local, dtype):
    for left in (True, False):
        ids, mask = padded(4, 9, 7, left=left)
        found = model(ids, attention_mask=mask.to(dtype)).logits
        expected = local(ids, attention_mask=mask).logits
        real = mask.bool()
        assert torch.allclose(found[real], expected[real], **CLOSE)
        assert not found[~real].any()


@pytest.mark.parametrize("dtype", [torch.long, torch.float32, torch.bfloat16, torch.bool])
def test_a_left_padded_batch_gives_the_text_of_transformers_whatever_the_masks_type(model, local, dtype):
    ids, mask = padded(4, 9, 7)
    found = model.generate(ids, attention_mask=mask.to(dtype), max_new_tokens=8, **GREEDY)
    assert torch.equal(found, local.generate(ids, attention_mask=mask, max_new_tokens=8, **GREEDY))


def test_positions_are_used_if_they_are_what_the_mask_implies(model, local):
    ids, mask = padded(4, 9)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    found = model(ids, attention_mask=mask, position_ids=positions).logits
    expected = local(ids, attention_mask=mask, position_ids=positions).logits
    assert torch.allclose(found[mask.bool()], expected[mask.bool()], **CLOSE)
    plain = torch.arange(9)[None]
    text = model.generate(ids[1:], position_ids=plain, max_new_tokens=5, **GREEDY)
    assert torch.equal(text, model.generate(ids[1:], max_new_tokens=5, **GREEDY))


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (torch.arange(9)[None] * 2, "must count each sequence's real tokens"),
        (torch.arange(9)[None] + 5, "must count each sequence's real tokens"),
        (torch.arange(9).flip(0)[None], "must count each sequence's real tokens"),
        (torch.zeros(1, 9, dtype=torch.long), "must count each sequence's real tokens"),
        (torch.arange(8)[None], "shape"),
        (torch.arange(9), "shape"),
        (torch.arange(9.0)[None], "integers"),
        ([list(range(9))], "tensor"),
    ],
)
def test_other_positions_are_refused(model, positions, message):
    ids = tokens(1, 9)
    with pytest.raises(UsageError, match=f"position_ids.*{message}"):
        model(ids, position_ids=positions)
    if isinstance(positions, torch.Tensor) and positions.shape == (1, 9):
        with pytest.raises(UsageError, match="position_ids"):
            model.generate(ids, position_ids=positions, max_new_tokens=3, **GREEDY)


def test_a_hole_in_the_mask_is_refused_where_the_positions_would_have_a_gap(model):
    ids, mask = tokens(1, 9), torch.ones(1, 9, dtype=torch.long)
    mask[0, 4] = 0
    with pytest.raises(UsageError, match="hole"):
        model(ids, attention_mask=mask)


def test_a_hole_that_the_positions_skip_gives_the_logits_and_the_text_of_transformers(model, local):
    """generate() makes such positions from the mask, so a pad token amid a prompt has no effect."""
    ids, mask = tokens(2, 12), torch.ones(2, 12, dtype=torch.long)
    mask[0, 4], mask[1, :3], mask[1, 6:8] = 0, 0, 0
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    found = model(ids, attention_mask=mask, position_ids=positions).logits
    expected = local(ids, attention_mask=mask, position_ids=positions).logits
    assert torch.allclose(found[mask.bool()], expected[mask.bool()], **CLOSE)
    found = model.generate(ids, attention_mask=mask, max_new_tokens=8, **GREEDY)
    assert torch.equal(found, local.generate(ids, attention_mask=mask, max_new_tokens=8, **GREEDY))


def test_a_sliding_window_counts_hidden_tokens_in_transformers_so_a_hole_is_refused(tmp_path):
    ids, mask = tokens(1, 12), torch.ones(1, 12, dtype=torch.long)
    mask[0, 4] = 0
    with tiny_model_in_a_swarm(tiny_store(tmp_path, "mistral")) as sliding:
        with pytest.raises(UsageError, match="sliding window"):
            sliding.generate(ids, attention_mask=mask, max_new_tokens=2, **GREEDY)
        sliding.generate(ids, max_new_tokens=2, **GREEDY)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(1, 8), "shape"),
        (torch.ones(1, 10), "shape"),
        (torch.ones(2, 9), "shape"),
        (torch.ones(9), "shape"),
        (torch.ones(1, 1, 9, 9), "shape"),
        (torch.full((1, 9), float("nan")), "nothing else"),
        (torch.full((1, 9), 0.5), "nothing else"),
        (torch.full((1, 9), -1), "nothing else"),
        (torch.full((1, 9), float("-inf")), "nothing else"),
        (torch.zeros(1, 9), "padding alone"),
        ([[1] * 9], "tensor"),
    ],
)
def test_a_mask_that_is_none_is_refused_at_the_call(model, mask, message):
    ids = tokens(1, 9)
    with pytest.raises(UsageError, match=message):
        model(ids, attention_mask=mask)
    with pytest.raises(UsageError, match=message) as error:
        model.generate(ids, attention_mask=mask, max_new_tokens=3, **GREEDY)
    assert error.value.rows == ids.tolist()


@pytest.mark.parametrize(
    "name", ["cache_position", "token_type_ids", "cu_seq_lens_q", "num_items_in_batch", "nonsense"]
)
def test_an_argument_of_forward_that_would_be_ignored_is_refused_by_name(model, name):
    with pytest.raises(UsageError, match=f"{name} is not supported"):
        model(tokens(1, 4), **{name: torch.arange(4)})
    model(tokens(1, 4), **{name: None})


def test_token_type_ids_are_refused_by_generate_as_transformers_llama_does(model, local):
    for each in (model, local):
        with pytest.raises(ValueError, match="token_type_ids"):
            each.generate(tokens(1, 4), token_type_ids=torch.zeros(1, 4).long(), max_new_tokens=1)


def test_embeddings_are_refused_by_name(model):
    for call in (model, model.generate):
        with pytest.raises(UsageError, match="input_ids"):
            call(inputs_embeds=torch.zeros(1, 4, 32))
