"""Each option of transformers' generate() is honoured, has no effect there either, or is refused by name."""

from __future__ import annotations

import inspect

import pytest
from transformers import GenerationConfig, GenerationMixin

from p2pinfer.client.arguments.unsupported import (
    HONOURED,
    REFUSED,
    REFUSED_ARGUMENTS,
    WITHOUT_EFFECT,
    refuse_unsupported,
)
from p2pinfer.errors import UsageError

HONOURED_ARGUMENTS = {
    "inputs",
    "generation_config",
    "logits_processor",
    "stopping_criteria",
    "prefix_allowed_tokens_fn",
    "streamer",
    "negative_prompt_ids",
    "negative_prompt_attention_mask",
}
REFUSED_VALUES = {
    "num_beams": 2,
    "num_beam_groups": 2,
    "constraints": [object()],
    "force_words_ids": [[5]],
    "penalty_alpha": 0.6,
    "dola_layers": "low",
    "use_mtp": True,
    "is_assistant": True,
    "prompt_lookup_num_tokens": 0,
    "assistant_early_exit": 2,
    "speculation_type": "dflash",
    "token_healing": True,
    "output_attentions": True,
    "output_hidden_states": True,
    "cache_implementation": "quantized",
    "cache_config": {"backend": "quanto"},
}


def test_each_field_of_generation_config_is_classified_once():
    """A new version of transformers with a new option fails here, not in somebody's text."""
    fields = set(vars(GenerationConfig()))
    classes = [HONOURED, WITHOUT_EFFECT, set(REFUSED)]
    assert set().union(*classes) == fields
    assert sum(map(len, classes)) == len(fields)


def test_each_argument_of_generate_is_classified():
    arguments = set(inspect.signature(GenerationMixin.generate).parameters) - {"self", "kwargs"}
    assert arguments - set(REFUSED_ARGUMENTS) == HONOURED_ARGUMENTS


def test_the_defaults_of_transformers_are_not_refused():
    config = GenerationConfig()
    config.update(**GenerationConfig._get_default_generation_params())
    refuse_unsupported(config, {})


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_an_option_that_cannot_be_honoured_is_refused_by_name(name):
    config = GenerationConfig()
    setattr(config, name, REFUSED_VALUES[name])
    with pytest.raises(UsageError, match=name):
        refuse_unsupported(config, {})


@pytest.mark.parametrize("name", sorted(REFUSED_ARGUMENTS))
def test_an_argument_that_cannot_be_honoured_is_refused_by_name(name):
    value = True if name == "synced_gpus" else object()
    with pytest.raises(UsageError, match=f"{name} is not supported"):
        refuse_unsupported(GenerationConfig(), {name: value})
    refuse_unsupported(GenerationConfig(), {name: None})


@pytest.mark.parametrize("name", ["static", "dynamic", "offloaded", "hybrid"])
def test_a_cache_implementation_that_changes_no_number_is_accepted(name):
    refuse_unsupported(GenerationConfig(cache_implementation=name), {})


def test_the_continuous_batching_of_transformers_is_refused():
    with pytest.raises(UsageError, match="cache_implementation is not supported"):
        refuse_unsupported(GenerationConfig(cache_implementation="paged"), {})
