"""Options change the text as they do in transformers."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import GenerationConfig, PreTrainedTokenizerFast, StoppingCriteriaList

from p2pinfer.errors import UsageError
from tests.client.generation.inputs import GREEDY, padded, tokens
from tests.model.tiny_models import VOCAB_SIZE


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


def test_stop_strings_end_the_text_as_in_transformers(model, local):
    words = {"abcdef": 0} | {f"<{token}>": token for token in range(1, VOCAB_SIZE)}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel(words, unk_token="abcdef")))
    ids = tokens(1, 12)
    stop = f"<{int(local.generate(ids, max_new_tokens=4, **GREEDY)[0, -1])}>"
    options = {"stop_strings": [stop], "tokenizer": tokenizer, "max_new_tokens": 20, **GREEDY}
    found = model.generate(ids, **options)
    assert torch.equal(found, local.generate(ids, **options))
    assert found.shape[1] <= 16
    with model.inference_session(max_length=40):
        assert torch.equal(model.generate(ids, **options), found)


def test_continuous_batching_is_refused(model):
    with pytest.raises(UsageError, match="in several threads"):
        model.generate_batch([[1, 2]])


@pytest.mark.parametrize(
    ("ids", "mask", "message"),
    [
        (tokens(1, 5), None, "1 sequences for 2 texts"),
        (tokens(2, 5), torch.tensor([[1, 1, 1, 1, 0], [1] * 5]), "ends in padding"),
        (tokens(2, 5), torch.tensor([[1, 0, 1, 1, 1], [1] * 5]), "hole"),
        ("not this", None, "takes token ids"),
    ],
)
def test_a_negative_prompt_that_cannot_be_run_is_refused_at_the_call(model, ids, mask, message):
    options = {"negative_prompt_ids": ids, "negative_prompt_attention_mask": mask, "guidance_scale": 1.5}
    with pytest.raises(UsageError, match=message):
        model.generate(tokens(2, 4), max_new_tokens=2, **options, **GREEDY)
