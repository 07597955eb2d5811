"""A text that ends in padding has no next token; transformers makes one up."""

from __future__ import annotations

import contextlib
import copy

import pytest
import torch

from p2pinfer.errors import UsageError
from tests.client.generation.inputs import CLOSE, GREEDY, padded, tokens


@pytest.mark.parametrize("in_session", [False, True])
@pytest.mark.parametrize(
    "mask",
    [
        [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]],
        [[0, 0, 1, 1, 1], [1, 1, 1, 0, 0]],
        [[1, 1, 1, 1, 0]],
        [[0, 1, 1, 1, 0]],
        [[1, 0, 1, 1, 0]],
    ],
)
def test_a_prompt_that_ends_in_padding_is_refused_with_what_to_do(model, mask, in_session):
    mask = torch.tensor(mask)
    ids = tokens(*mask.shape)
    session = model.inference_session(max_length=64) if in_session else contextlib.nullcontext()
    with session, pytest.raises(UsageError, match=r"ends in padding.*padding_side = 'left'") as error:
        model.generate(ids, attention_mask=mask, max_new_tokens=2, **GREEDY)
    assert error.value.rows == [row[real.bool()].tolist() for row, real in zip(ids, mask, strict=True)]


def test_right_padding_that_transformers_sees_by_the_pad_token_is_refused_too(model):
    ids = tokens(2, 5)
    ids[1, 3:] = 0
    with pytest.raises(UsageError, match="ends in padding"):
        model.generate(ids, max_new_tokens=2, **GREEDY)
    given = torch.ones_like(ids)
    model.generate(ids, attention_mask=given, max_new_tokens=2, **GREEDY)


def test_a_text_goes_on_after_right_padding_in_forward_if_mask_and_positions_say_so(model, local):
    ids, mask = padded(3, 6, left=False)
    more = tokens(2, 1, seed=5)
    longer = torch.cat([mask, torch.ones(2, 1).long()], 1)
    with model.inference_session(max_length=32):
        past = model(ids, attention_mask=mask).past_key_values
        with pytest.raises(UsageError, match="hole"):
            model(more, attention_mask=longer, past_key_values=copy.deepcopy(past))
        with pytest.raises(UsageError, match="had padding"):
            model(more, past_key_values=copy.deepcopy(past))
        with pytest.raises(UsageError, match="hides other tokens"):
            model(more, attention_mask=torch.ones(2, 7), past_key_values=copy.deepcopy(past))
        positions = torch.tensor([[3], [6]])
        found = model(more, attention_mask=longer, position_ids=positions, past_key_values=past).logits
    past = local(ids, attention_mask=mask).past_key_values
    expected = local(more, attention_mask=longer, position_ids=positions, past_key_values=past).logits
    assert torch.allclose(found, expected, **CLOSE)
