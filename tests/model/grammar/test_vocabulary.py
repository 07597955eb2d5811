"""A model's tokens for grammars: padded heads, tokens beyond the head, models without the file."""

from __future__ import annotations

import dataclasses
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from p2pinfer.errors import ModelError, StoreError
from p2pinfer.model.grammar.constraint import CompiledGrammar
from p2pinfer.model.grammar.plain import choice_grammar, regex_grammar
from p2pinfer.model.grammar.vocabulary import Vocabulary
from p2pinfer.model.layer_store.store import LayerStore


def byte_tokenizer(*special: str) -> str:
    """A tokenizer.json whose tokens 0 to 25 are letters, and then special ones."""
    letters = {chr(ord("a") + number): number for number in range(26)}
    added = [
        {"id": 26 + number, "content": text, "special": True, "single_word": False, "lstrip": False}
        | {"rstrip": False, "normalized": False}
        for number, text in enumerate(special)
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    model = {"type": "BPE", "vocab": letters, "merges": []}
    fields = {"version": "1.0", "added_tokens": added, "model": model}
    fields |= {"decoder": byte_level, "pre_tokenizer": byte_level}
    return json.dumps(fields)


def allowed_tokens(vocabulary: Vocabulary, pattern: str) -> list[int]:
    """Which tokens may begin a text."""
    mask = CompiledGrammar(vocabulary, regex_grammar(pattern))().allowed()
    assert mask.shape == (vocabulary.size,)
    assert mask.dtype == np.bool_
    return np.flatnonzero(mask).tolist()


def test_logits_that_have_no_token_are_never_allowed():
    """Heads are padded to a round number."""
    vocabulary = Vocabulary(lambda: byte_tokenizer("<end>"), size=64, end_tokens=[26])

    assert allowed_tokens(vocabulary, "[a-z]*") == list(range(27))
    assert allowed_tokens(vocabulary, "[^a]+") == list(range(1, 26))


def test_tokens_that_the_model_has_no_logits_for_are_left_out():
    """Some tokenizers have more tokens than the head has rows."""
    vocabulary = Vocabulary(lambda: byte_tokenizer("<end>", "<image>"), size=27, end_tokens=[26, 99])

    assert vocabulary.end_tokens == (26,)
    assert allowed_tokens(vocabulary, "[a-z]*") == list(range(27))


def test_special_tokens_are_found_by_their_text_and_never_taken_for_text():
    vocabulary = Vocabulary(lambda: byte_tokenizer("<end>", "[TOOL_CALLS]"), size=28, end_tokens=[26])

    assert vocabulary.special_token("[TOOL_CALLS]") == 27
    assert vocabulary.special_token("a") is None
    assert vocabulary.special_token("ab") is None
    assert 27 not in allowed_tokens(vocabulary, "(?s:.*)")


def test_every_token_that_ends_a_text_may_end_it():
    vocabulary = Vocabulary(lambda: byte_tokenizer("<end>", "<turn>"), size=28, end_tokens=[26, 27])
    constraint = CompiledGrammar(vocabulary, choice_grammar(["a", "ab"]))()
    constraint.accept(0)

    assert np.flatnonzero(constraint.allowed()).tolist() == [1, 26, 27]


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", '{"model": {"type": "BPE"}}'])
def test_a_malformed_tokenizer_is_a_clear_error_when_it_is_needed(text: str):
    vocabulary = Vocabulary(lambda: text, size=10, end_tokens=[1])

    with pytest.raises(ModelError, match=r"grammars can't use the model's tokenizer\.json"):
        _ = vocabulary.tokenizer


def test_a_model_without_a_token_that_ends_texts_has_no_grammars():
    with pytest.raises(ModelError, match="no token that ends a text"):
        _ = Vocabulary(lambda: byte_tokenizer(), size=26, end_tokens=[]).tokenizer


def test_a_store_gives_its_own_tokenizer(smollm2: LayerStore, vocabulary: Vocabulary, tokenizer: Tokenizer):
    """With a logit for each token, and the end of a turn as the end."""
    digits = allowed_tokens(vocabulary, "[0-9]")

    assert vocabulary.size == smollm2.manifest.vocab_size
    assert sorted(tokenizer.decode([token]) for token in digits) == list("0123456789")


def test_an_altered_tokenizer_is_noticed(smollm2: LayerStore, tmp_path: Path):
    (tmp_path / "tokenizer.json").write_text("{}")
    altered = LayerStore(tmp_path, smollm2.manifest, smollm2.config_fields)

    with pytest.raises(StoreError):
        _ = Vocabulary.of_store(altered, end_tokens=[2]).tokenizer


def test_a_model_with_a_tokenizer_of_another_kind_has_no_grammars(smollm2: LayerStore):
    files = {name: entry for name, entry in smollm2.manifest.files.items() if name != "tokenizer.json"}
    manifest = dataclasses.replace(smollm2.manifest, files=files)
    store = LayerStore(smollm2.folder, manifest, smollm2.config_fields)

    with pytest.raises(ModelError, match=r"has no tokenizer\.json: grammars need it"):
        _ = Vocabulary.of_store(store, end_tokens=[2]).tokenizer


def test_the_tokenizer_is_read_once_by_threads_that_come_together():
    """Nobody pays for a vocabulary that no request needs."""
    reads: list[int] = []
    together = threading.Barrier(4)

    def read() -> str:
        reads.append(1)
        return byte_tokenizer("<end>")

    vocabulary = Vocabulary(read, size=27, end_tokens=[26])

    def use() -> object:
        together.wait(60)
        return vocabulary.tokenizer

    assert reads == []
    with ThreadPoolExecutor(4) as pool:
        assert len({id(future.result()) for future in [pool.submit(use) for _ in range(4)]}) == 1
    assert reads == [1]
