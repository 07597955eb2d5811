"""What generate() and forward() return is what transformers returns with the same weights."""

from __future__ import annotations

import pytest
import torch
from transformers import GenerationConfig

from p2pinfer.errors import UsageError
from tests.client.generation.inputs import CLOSE, GREEDY, Kept, padded, tokens


def test_what_generate_returns_can_be_changed_in_place(model):
    found = model.generate(tokens(1, 4), max_new_tokens=2, **GREEDY)
    found[0, 0] = 7
    assert not found.is_inference()
    assert model(found).logits.is_inference() is False


def test_past_key_values_outside_of_a_session_name_what_keeps_them(model):
    ids = tokens(1, 4)
    past = model(ids).past_key_values
    with pytest.raises(UsageError, match="inference_session"):
        model(ids, past_key_values=past)
    kept = model.generate(ids, return_dict_in_generate=True, max_new_tokens=2, **GREEDY).past_key_values
    with pytest.raises(UsageError, match="inference_session"):
        model(ids, past_key_values=kept)
    with pytest.raises(UsageError, match="inference_session"):
        model.generate(ids, past_key_values=past)
    with pytest.raises(UsageError, match="inference_session"):
        model(ids, past_key_values=((torch.zeros(1), torch.zeros(1)),))


def test_in_a_session_a_loop_with_past_key_values_gives_the_text_of_generate(model):
    ids = tokens(2, 6)
    expected = model.generate(ids, max_new_tokens=6, **GREEDY)
    with model.inference_session(max_length=32):
        text, new, past = ids, ids, None
        for _ in range(6):
            output = model(new, past_key_values=past)
            new, past = output.logits[:, -1:].argmax(-1), output.past_key_values
            text = torch.cat([text, new], 1)
        assert torch.equal(text, expected)
        past.crop(-3)
        assert past.get_seq_length() == 8
        again = model(expected[:, 8:11], past_key_values=past).logits[:, -1].argmax(-1)
        assert torch.equal(again, expected[:, 11])


def test_a_cache_of_another_number_of_sequences_is_refused(model):
    with model.inference_session(max_length=32):
        past = model(tokens(2, 6)).past_key_values
        with pytest.raises(UsageError, match="of 2 sequences, input_ids of 1"):
            model(tokens(1, 1), past_key_values=past)
        for change in (past.batch_repeat_interleave, past.batch_select_indices, past.reorder_cache):
            with pytest.raises(UsageError):
                change(2)


@pytest.mark.parametrize(
    "keep",
    [
        0, 1, 3, 9, 20, -2,
        torch.tensor([2]), torch.tensor([8, 0, 3]), torch.tensor([-1, -4, -1]), torch.tensor([1, 2, 3]),
        torch.tensor([True, False] * 4 + [True]), torch.tensor([], dtype=torch.long),
    ],
)  # fmt: skip
def test_logits_are_kept_as_transformers_keeps_them(model, local, keep):
    ids, mask = padded(4, 9)
    found = model(ids, attention_mask=mask, logits_to_keep=keep).logits
    expected = local(ids, attention_mask=mask, logits_to_keep=keep).logits
    assert found.shape == expected.shape
    index = slice(-keep, None) if isinstance(keep, int) else keep
    real = mask[:, index].bool()
    assert torch.allclose(found[real], expected[real], **CLOSE)
    assert not found[~real].any()


@pytest.mark.parametrize(
    "keep", [torch.tensor([9]), torch.tensor([[1]]), torch.tensor([0.5]), "3", torch.tensor([True])]
)
def test_logits_to_keep_that_make_no_sense_are_refused(model, keep):
    with pytest.raises(UsageError, match="logits_to_keep"):
        model(tokens(1, 9), logits_to_keep=keep)


def test_without_return_dict_a_tuple_comes_back_as_from_transformers(model, local):
    ids = tokens(1, 5)
    found, expected = model(ids, return_dict=False), local(ids, return_dict=False)
    assert isinstance(found, tuple)
    assert len(found) == len(expected)
    assert torch.allclose(found[0], expected[0], **CLOSE)
    assert len(model(ids, return_dict=False, use_cache=False)) == 1


def test_scores_and_logits_of_a_text_are_transformers_own(model, local):
    ids = tokens(2, 6)
    options = {"output_scores": True, "output_logits": True, "return_dict_in_generate": True}
    options |= {"max_new_tokens": 4, "repetition_penalty": 1.3, **GREEDY}
    found, expected = model.generate(ids, **options), local.generate(ids, **options)
    assert type(found) is type(expected)
    assert torch.equal(found.sequences, expected.sequences)
    for mine, theirs in zip(found.logits + found.scores, expected.logits + expected.scores, strict=True):
        assert torch.allclose(mine, theirs, **CLOSE)
    assert found.hidden_states is None and found.attentions is None


@pytest.mark.parametrize("where", ["argument", "object", "model"])
@pytest.mark.parametrize("name", ["output_hidden_states", "output_attentions"])
def test_what_the_layers_compute_stays_with_the_servers(model, monkeypatch, where, name):
    ids, streamer = tokens(1, 4), Kept()
    config = GenerationConfig(max_new_tokens=1, **({name: True} if where == "object" else {}))
    if where == "model":
        monkeypatch.setattr(model.generation_config, name, True)
    options = {name: True} if where == "argument" else {}
    with pytest.raises(UsageError, match=name):
        model.generate(ids, config, streamer=streamer, **options)
    assert not streamer.tokens
    with pytest.raises(UsageError, match="stay with the servers"):
        model(ids, **{name: True})
