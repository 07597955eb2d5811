"""Where the model's or the session's context ends, the text ends by length."""

from __future__ import annotations

import pytest
import torch
from transformers import StoppingCriteria, StoppingCriteriaList

from p2pinfer.errors import PromptTooLongError
from tests.client.generation.inputs import GREEDY, Kept, padded, tokens

CONTEXT = 256


@pytest.mark.parametrize("options", [{"max_new_tokens": 50}, {"max_length": 400}, {"max_new_tokens": 10**9}])
def test_a_text_ends_by_length_where_the_context_ends(model, local, options, caplog):
    """The last token needs no room: nothing is computed after it."""
    ids, streamer = tokens(1, CONTEXT - 7), Kept()
    found = model.generate(ids, streamer=streamer, **options, **GREEDY)
    assert found.shape == (1, CONTEXT + 1)
    assert torch.equal(found, local.generate(ids, max_length=CONTEXT + 1, **GREEDY))
    assert streamer.tokens == found[0].tolist()
    assert streamer.ended
    assert "the text ends after 8 of" in caplog.text


def test_a_forced_end_of_text_comes_where_the_context_ends(model):
    ids = tokens(1, CONTEXT - 3)
    found = model.generate(ids, max_new_tokens=50, forced_eos_token_id=9, do_sample=False)
    assert found[0, -1] == 9
    assert found.shape[1] <= CONTEXT + 1


def test_a_batch_ends_where_its_longest_text_does(model):
    ids, mask = padded(CONTEXT - 4, 20)
    found = model.generate(ids, attention_mask=mask, max_new_tokens=50, **GREEDY)
    assert found.shape[1] == CONTEXT + 1
    wide = torch.cat([torch.zeros(1, CONTEXT).long(), tokens(1, 5)], 1)
    mask = (wide != 0).long()
    found = model.generate(wide, attention_mask=mask, max_new_tokens=4, **GREEDY)
    assert torch.equal(found[:, -9:], model.generate(wide[:, -5:], max_new_tokens=4, **GREEDY))


@pytest.mark.parametrize(
    "options",
    [
        {"min_new_tokens": 20, "max_new_tokens": 50},
        {"min_length": CONTEXT + 20, "max_new_tokens": 50},
        {"min_new_tokens": 20, "max_length": 400},
    ],
)
def test_a_text_that_cannot_have_its_least_length_is_refused_at_the_call(model, options):
    ids = tokens(1, CONTEXT - 7)
    with pytest.raises(PromptTooLongError, match="8 fit") as error:
        model.generate(ids, **options, **GREEDY)
    assert error.value.rows == ids.tolist()


@pytest.mark.parametrize("columns", [CONTEXT + 1, CONTEXT + 40])
def test_a_prompt_beyond_the_context_is_refused_at_the_call(model, columns):
    ids = tokens(2, columns)
    with pytest.raises(PromptTooLongError, match=f"takes at most {CONTEXT}") as error:
        model.generate(ids, max_new_tokens=1, **GREEDY)
    assert error.value.rows == ids.tolist()


def test_a_prompt_that_fills_the_context_gets_its_next_token(model, local):
    ids = tokens(1, CONTEXT)
    found = model.generate(ids, max_new_tokens=5, **GREEDY)
    assert torch.equal(found, local.generate(ids, max_new_tokens=1, **GREEDY))


def test_in_a_session_the_text_ends_where_the_session_does(model):
    ids = tokens(1, 10)
    with model.inference_session(max_length=16):
        found = model.generate(ids, max_new_tokens=50, **GREEDY)
        assert found.shape == (1, 17)
        with pytest.raises(PromptTooLongError, match="opened for 16; raise max_length") as error:
            model.generate(found, max_new_tokens=1, **GREEDY)
        assert error.value.rows == found.tolist()
        with pytest.raises(PromptTooLongError, match="7 fit"):
            model.generate(ids, max_new_tokens=50, min_new_tokens=8, **GREEDY)


def test_stop_conditions_still_come_before_the_contexts_end(model):
    class AfterTwo(StoppingCriteria):
        def __call__(self, input_ids, scores, **kwargs):
            return torch.tensor([input_ids.shape[1] >= CONTEXT - 8])

    ids = tokens(1, CONTEXT - 10)
    criteria = StoppingCriteriaList([AfterTwo()])
    assert (
        model.generate(ids, max_new_tokens=50, stopping_criteria=criteria, **GREEDY).shape[1] == CONTEXT - 8
    )
    assert model.generate(ids, max_new_tokens=50, max_time=0.0, **GREEDY).shape[1] == CONTEXT - 9
