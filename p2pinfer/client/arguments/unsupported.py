"""Every option of generate(): which are honoured, which have no effect here, and which are refused by name.

No option may change a text silently, or be dropped silently. tests/client/arguments/test_unsupported.py
compares these lists with the options that transformers has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transformers import GenerationConfig

from p2pinfer.errors import UsageError

HONOURED = frozenset(
    {
        # the end of the text
        "max_length", "max_new_tokens", "min_length", "min_new_tokens", "max_time", "stop_strings",
        "eos_token_id", "pad_token_id", "bos_token_id",
        # the choice of the next token
        "do_sample", "temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff",
        "eta_cutoff", "repetition_penalty", "encoder_repetition_penalty", "no_repeat_ngram_size",
        "encoder_no_repeat_ngram_size", "bad_words_ids", "renormalize_logits", "forced_bos_token_id",
        "forced_eos_token_id", "remove_invalid_values", "exponential_decay_length_penalty",
        "suppress_tokens", "begin_suppress_tokens", "sequence_bias", "guidance_scale",
        "watermarking_config", "num_return_sequences",
        # the result
        "output_scores", "output_logits", "return_dict_in_generate", "use_cache",
    }
)  # fmt: skip
"""Options that mean what they mean in transformers: it acts on the logits, which are computed here. Without
`use_cache` the text is the same, and the servers' caches are used all the same."""

WITHOUT_EFFECT = frozenset(
    {
        # how a model on this computer would store its cache and run its layers
        "max_cache_len", "prefill_chunk_size", "compile_config", "disable_compile", "low_memory",
        "continuous_batching_config",
        # of beam search, assisted generation and encoders only: transformers ignores them otherwise
        "early_stopping", "length_penalty", "diversity_penalty", "decoder_start_token_id",
        "num_assistant_tokens", "num_assistant_tokens_schedule", "assistant_confidence_threshold",
        "max_matching_ngram_size", "assistant_lookbehind", "target_lookbehind",
        "assistant_ensemble_weight",
        # about the file
        "_from_model_config", "transformers_version",
    }
)  # fmt: skip
"""Options that change no text of transformers' greedy decoding and sampling either."""

_FALSE_OR_NONE = (None, False)
_SAME_NUMBERS = (None, "dynamic", "offloaded", "static", "offloaded_static", "hybrid", "hybrid_chunked",
                 "offloaded_hybrid", "offloaded_hybrid_chunked", "sliding_window")  # fmt: skip
_GREEDY_OR_SAMPLING = "use greedy decoding or sampling"
_LAYERS_ARE_ELSEWHERE = "the layers, and what they compute, are with the servers"
_NO_ASSISTANT = f"there is no assisted generation here: {_GREEDY_OR_SAMPLING}"


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Which values are harmless, and what to do instead of the others."""

    harmless: tuple[Any, ...]
    hint: str


def _only(*harmless: Any, hint: str) -> _Refusal:
    return _Refusal(harmless, hint)


_BEAMS = _only(None, 0, 1, hint="beam search is not supported, use num_beams=1 (greedy or sampling)")

REFUSED: Mapping[str, _Refusal] = {
    "num_beams": _BEAMS,
    "num_beam_groups": _BEAMS,
    "constraints": _only(None, hint=_GREEDY_OR_SAMPLING),
    "force_words_ids": _only(None, hint=_GREEDY_OR_SAMPLING),
    "penalty_alpha": _only(None, 0, hint=_GREEDY_OR_SAMPLING),
    "dola_layers": _only(None, hint=_GREEDY_OR_SAMPLING),
    "use_mtp": _only(*_FALSE_OR_NONE, hint=_NO_ASSISTANT),
    "is_assistant": _only(*_FALSE_OR_NONE, hint="p2pinfer's models don't draft for others"),
    "prompt_lookup_num_tokens": _only(None, hint=_NO_ASSISTANT),
    "assistant_early_exit": _only(None, hint=_NO_ASSISTANT),
    "speculation_type": _only(None, hint=_NO_ASSISTANT),
    "token_healing": _only(*_FALSE_OR_NONE, hint="remove the last token of the prompt yourself"),
    "output_attentions": _only(*_FALSE_OR_NONE, hint=_LAYERS_ARE_ELSEWHERE),
    "output_hidden_states": _only(*_FALSE_OR_NONE, hint=_LAYERS_ARE_ELSEWHERE),
    "cache_implementation": _only(*_SAME_NUMBERS, hint="the caches are with the servers: leave it away"),
    "cache_config": _only(None, hint="the caches are with the servers: leave it away"),
}
"""Options of GenerationConfig that are refused, unless they have a harmless value."""

REFUSED_ARGUMENTS: Mapping[str, _Refusal] = {
    "assistant_model": _only(None, hint=_NO_ASSISTANT),
    "assistant_tokenizer": _only(None, hint=_NO_ASSISTANT),
    "custom_generate": _only(None, hint="write the loop yourself with model(ids, past_key_values=...)"),
    "synced_gpus": _only(
        *_FALSE_OR_NONE, hint="the servers have the layers: there is nothing to synchronize"
    ),
    "inputs_embeds": _only(None, hint="pass input_ids: servers' caches are keyed by tokens"),
    "past_key_values": _only(
        None, hint="they stay with the servers: use model.inference_session() to keep them"
    ),
    "return_dict": _only(None, hint="it is named return_dict_in_generate"),
    "session": _only(
        None,
        hint="every generate() inside `with model.inference_session(...)` uses that session: leave it away, "
        "and give the whole text so far",
    ),
}
"""Arguments of generate() itself, and words that users of other libraries try."""


def refuse_unsupported(config: GenerationConfig, arguments: Mapping[str, Any]) -> None:
    """Raise UsageError for the first option that p2pinfer can't honour.

    `config` is what transformers makes of the call's options, the caller's GenerationConfig and the model's
    own; `arguments` are those of the call.
    """
    for name, refusal in REFUSED_ARGUMENTS.items():
        _check(name, arguments.get(name), refusal)
    for name, refusal in REFUSED.items():
        _check(name, getattr(config, name, None), refusal)


def _check(name: str, value: Any, refusal: _Refusal) -> None:
    if value is None or (isinstance(value, bool | int | float | str) and value in refusal.harmless):
        return
    if refusal is _BEAMS:
        raise UsageError(f"{name}={value!r}: {refusal.hint}")
    raise UsageError(f"{name} is not supported: {refusal.hint}")
