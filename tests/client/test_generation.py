"""generate() and forward() over a swarm give what transformers gives with the same weights, or refuse."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator

import pytest
import torch
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from p2pinfer.client.generation import DistributedCausalLM
from p2pinfer.errors import PromptTooLongError, UsageError
from p2pinfer.model.layer_store.store import LayerStore
from tests.client.tiny_swarm import tiny_model_in_a_swarm
from tests.model.tiny_models import VOCAB_SIZE, oracle, tiny_store

CONTEXT = 256
GREEDY = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}
CLOSE = {"atol": 0.1, "rtol": 0.0}
"""INT8 layers whose roundings fall differently; a wrong position or token is off by 1 to 20."""


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> LayerStore:
    return tiny_store(tmp_path_factory.mktemp("llama"), "llama")


@pytest.fixture(scope="module")
def model(store) -> Iterator[DistributedCausalLM]:
    with tiny_model_in_a_swarm(store) as model:
        yield model


@pytest.fixture(scope="module")
def local(store):
    """Transformers' own model with the same weights."""
    return oracle(store, rounding=True).requires_grad_(False)


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


def tokens(*shape: int, seed: int = 0) -> torch.Tensor:
    """Random ids without special tokens."""
    return torch.randint(3, VOCAB_SIZE, shape, generator=torch.Generator().manual_seed(seed))


def padded(*lengths: int, left: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch with rows of these lengths and its mask."""
    width = max(lengths)
    ids, mask = torch.zeros(len(lengths), width, dtype=torch.long), torch.zeros(len(lengths), width).long()
    for row, length in enumerate(lengths):
        where = slice(width - length, None) if left else slice(0, length)
        ids[row, where], mask[row, where] = tokens(length, seed=row), 1
    return ids, mask


# use_cache


@pytest.mark.parametrize("ways", ["argument", "object", "model"])
def test_without_use_cache_the_text_is_that_of_a_cached_run(model, local, monkeypatch, ways):
    ids = tokens(2, 12)
    cached = model.generate(ids, max_new_tokens=10, **GREEDY)
    options = dict(max_new_tokens=10, **GREEDY)
    if ways == "argument":
        uncached = model.generate(ids, use_cache=False, **options)
    elif ways == "object":
        uncached = model.generate(ids, GenerationConfig(use_cache=False, **options))
    else:
        monkeypatch.setattr(model.generation_config, "use_cache", False)
        uncached = model.generate(ids, **options)
    assert torch.equal(uncached, cached)
    assert torch.equal(uncached, local.generate(ids, max_new_tokens=10, use_cache=False, **GREEDY))


def test_a_checkpoint_that_says_use_cache_false_gives_the_same_text(tmp_path, model):
    changed = tiny_store(tmp_path, "llama")
    (changed.folder / "generation_config.json").write_text(json.dumps({"use_cache": False}))
    ids = tokens(1, 9)
    with tiny_model_in_a_swarm(changed) as without:
        assert without.generation_config.use_cache is False
        text = without.generate(ids, max_new_tokens=8, **GREEDY)
        with without.inference_session(max_length=64):
            assert torch.equal(without.generate(ids, max_new_tokens=8, **GREEDY), text)
    assert torch.equal(text, model.generate(ids, max_new_tokens=8, **GREEDY))


def test_without_use_cache_no_cache_is_returned_as_in_transformers(model, local):
    ids = tokens(1, 5)
    options = {"use_cache": False, "return_dict_in_generate": True, "max_new_tokens": 2, **GREEDY}
    assert local.generate(ids, **options).past_key_values is None
    assert model.generate(ids, **options).past_key_values is None
    with model.inference_session(max_length=16):
        assert model(ids, use_cache=False).past_key_values is None
        assert model(ids).past_key_values is not None


# positions and masks


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


# right padding


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


# the context's end


class Kept(BaseStreamer):
    """Keeps what a streamer gets."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.ended = False

    def put(self, value: torch.Tensor) -> None:
        self.tokens += value.flatten().tolist()

    def end(self) -> None:
        self.ended = True


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


# results


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


@pytest.mark.parametrize(
    "options",
    [
        {"guidance_scale": 1.5},
        {"guidance_scale": 1.5, "negative_prompt_ids": tokens(2, 30, seed=9)},
        {"guidance_scale": 2.0, "use_cache": False},
        {"repetition_penalty": 1.5},
        {"encoder_repetition_penalty": 1.5},
        {"no_repeat_ngram_size": 2},
        {"encoder_no_repeat_ngram_size": 2},
        {"bad_words_ids": [[5], [7, 8]]},
        {"sequence_bias": {(5,): 3.0}},
        {"suppress_tokens": list(range(80))},
        {"begin_suppress_tokens": list(range(80))},
        {"forced_eos_token_id": 11},
        {"exponential_decay_length_penalty": (2, 1.5), "eos_token_id": 6},
        {"min_length": 18, "eos_token_id": list(range(60, 150))},
        {"min_new_tokens": 5, "eos_token_id": list(range(60, 150))},
        {"eos_token_id": list(range(60, 150))},
        {"prefill_chunk_size": 4},
        {"renormalize_logits": True, "remove_invalid_values": True},
        {"max_length": 19, "max_new_tokens": None},
    ],
)
def test_an_option_of_greedy_decoding_is_honoured_as_by_transformers(model, local, options):
    ids, mask = padded(12, 8)
    options = {"max_new_tokens": 8, **GREEDY, **options}
    expected = local.generate(ids, attention_mask=mask, **options)
    assert torch.equal(model.generate(ids, attention_mask=mask, **options), expected)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.7},
        {"top_k": 5},
        {"top_p": 0.8},
        {"min_p": 0.1},
        {"top_h": 0.5},
        {"typical_p": 0.8},
        {"epsilon_cutoff": 0.01},
        {"eta_cutoff": 0.01},
        {"num_return_sequences": 3},
        {"watermarking_config": {"bias": 2.5, "seeding_scheme": "selfhash"}},
    ],
)
def test_an_option_of_sampling_is_honoured_as_by_transformers(model, local, options):
    ids, texts = tokens(2, 12), []
    for each in (model, local):
        torch.manual_seed(4)
        config = GenerationConfig(do_sample=True, max_new_tokens=6, pad_token_id=0, **options)
        texts.append(each.generate(ids, config))
    assert torch.equal(*texts)


def test_a_checkpoints_option_is_refused_although_the_caller_gives_a_configuration(model, monkeypatch):
    """Transformers fills what the caller leaves open from the model's own configuration."""
    monkeypatch.setattr(model.generation_config, "num_beams", 4)
    with pytest.raises(UsageError, match="beam search is not supported"):
        model.generate(tokens(1, 4), GenerationConfig(max_new_tokens=2))


def test_arguments_may_be_positional_as_for_transformers(model, local):
    criteria = StoppingCriteriaList()
    ids = tokens(1, 4)
    config = GenerationConfig(max_new_tokens=3, **GREEDY)
    assert torch.equal(
        model.generate(ids, config, None, criteria), local.generate(ids, config, None, criteria)
    )
    with pytest.raises(UsageError, match="assistant_model is not supported"):
        model.generate(ids, config, None, None, None, None, local)


# first contact


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("hello", "takes token ids"),
        (["hello", "you"], "takes token ids"),
        ([[1, 2]], "must be a tensor of token ids, not list"),
        (torch.tensor([[1.0, 2.0]]), r"not of torch\.float32"),
        (torch.tensor([1, 2]), r"shape \[sequences, tokens\]"),
        (torch.zeros(1, 0, dtype=torch.long), "at least one token"),
        (torch.zeros(0, 3, dtype=torch.long), "at least one token"),
        (torch.tensor([[VOCAB_SIZE]]), "outside the vocabulary"),
        (torch.tensor([[-1]]), "outside the vocabulary"),
        ({"input_ids": torch.tensor([[1]])}, r"model\.generate\(\*\*inputs\)"),
        (7, "not int"),
    ],
)
def test_what_is_no_token_ids_is_answered_with_what_to_do(model, given, message):
    with pytest.raises(UsageError, match=message):
        model.generate(given, max_new_tokens=2)
    with pytest.raises(UsageError, match=message):
        model(given)


def test_words_of_petals_get_a_hint(model):
    ids = tokens(1, 4)
    with model.inference_session(max_length=32) as session:
        with pytest.raises(UsageError, match=r"session is not supported: .*leave it away"):
            model.generate(ids, session=session, max_new_tokens=2)
        with pytest.raises(UsageError, match="the whole text so far"):
            model.generate(max_new_tokens=2)
    with pytest.raises(UsageError, match="needs input_ids"):
        model.generate(max_new_tokens=2)
    with pytest.raises(UsageError, match="needs max_length"), model.inference_session():
        pass
    for name in ("transformer", "model", "h", "lm_head"):
        with pytest.raises(AttributeError, match="with the swarm's servers"):
            getattr(model, name)
        assert not hasattr(model, name)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = model.nonsense
    with pytest.raises(UsageError, match="once"):
        model.generate(ids, input_ids=ids)
    with pytest.raises(UsageError, match="GenerationConfig"):
        model.generate(ids, {"max_new_tokens": 2})
