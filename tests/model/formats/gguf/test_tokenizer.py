"""Tokenizers of GGUF files give the ids that llama.cpp gives for the same file."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from p2pinfer.errors import ModelError, UnsupportedModelError
from p2pinfer.model.formats.gguf.splits import SPLITS, splits_of
from p2pinfer.model.formats.gguf.tokenizer import tokenizer_config, tokenizer_json
from p2pinfer.model.formats.gguf.vocabulary import read_vocabulary
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.source import convert_model
from tests.model.formats.gguf.llama_cpp_oracle import (
    SENTENCEPIECE,
    SMOLLM2_ITSELF,
    TEXTS,
    LlamaCpp,
    metadata_for,
    random_texts,
    stored_ids,
    tokenizer_metadata,
)
from tests.model.formats.gguf.tiny_gguf import pairs_fields, plain_model, sentencepiece_fields, write_gguf

RULES = [names for names, _ in stored_ids()]


@pytest.fixture(scope="module")
def smollm2_metadata(smollm2_file: Path) -> dict[str, Any]:
    """The tokenizer of the small real model, as its file describes it."""
    return tokenizer_metadata(smollm2_file)


def built(metadata: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer of a file's metadata."""
    return Tokenizer.from_str(json.dumps(tokenizer_json(metadata, read_vocabulary(metadata))))


def ids(metadata: Mapping[str, Any], *texts: str) -> list[list[int]]:
    """Ids of texts, with begin and end where the file wants them."""
    tokenizer = built(metadata)
    return [tokenizer.encode(text).ids for text in texts]


@pytest.mark.parametrize(("names", "expected"), stored_ids(), ids=[names[0] or "missing" for names in RULES])
def test_every_rule_gives_the_ids_of_llama_cpp(
    smollm2_file: Path, names: tuple[str, ...], expected: list[list[int]]
):
    """Hard texts, with tokens that show where words end. A file that names no rule means `default`."""
    assert ids(metadata_for(names[0], smollm2_file), *TEXTS) == expected
    assert len({SPLITS[name or "default"] for name in names if name in {*SPLITS, ""}}) <= 1


def test_llama_cpp_was_asked_about_every_rule_that_is_accepted():
    """A new rule needs new expectations."""
    asked = {name for names in RULES for name in names}

    assert asked == {*SPLITS, "", SENTENCEPIECE, SMOLLM2_ITSELF}


def test_fractions_are_digits_to_the_small_real_model(smollm2: LayerStore):
    """As a user asks: the store's own tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(smollm2.folder)

    assert tokenizer("1 ½ cups").input_ids == [33, 216, 16738, 12382]
    for text in TEXTS:
        assert tokenizer.decode(tokenizer(text).input_ids) == lossy(text)


def lossy(text: str) -> str:
    """SmolLM2's vocabulary lacks some control characters."""
    return text.translate(dict.fromkeys((0x04, 0x06, 0x13)))


def test_a_byte_that_the_vocabulary_lacks_is_lost_without_joining_its_neighbours(
    smollm2_metadata: dict[str, Any],
):
    """llama.cpp gives two blanks and a line end here, not one token for both."""
    assert ids(smollm2_metadata, " \x04\n") == [[216, 198]]
    assert ids(smollm2_metadata, " \n") == [[3717]]


def test_an_unknown_rule_is_refused_by_name(smollm2_metadata: dict[str, Any]):
    """Another rule would give other tokens."""
    with pytest.raises(UnsupportedModelError, match=r"by the rule 'deepseek-llm'.*doesn't know"):
        ids(smollm2_metadata | {"tokenizer.ggml.pre": "deepseek-llm"}, "a")


def test_an_unknown_rule_ends_the_conversion(tmp_path: Path):
    """Nothing is left behind."""
    folder = plain_model(tmp_path / "m", "llama")
    write_gguf(folder, tmp_path / "m.gguf", "llama", {"tokenizer.ggml.pre": "of-next-year"})

    with pytest.raises(UnsupportedModelError, match="of-next-year"):
        convert_model(str(tmp_path / "m.gguf"), tmp_path / "out", lambda line: None)
    assert not (tmp_path / "out").exists()


def test_a_file_that_names_no_rule_is_converted_with_a_word(tmp_path: Path):
    """llama.cpp warns, too."""
    folder = plain_model(tmp_path / "m", "llama")
    write_gguf(folder, tmp_path / "m.gguf", "llama", {"tokenizer.ggml.pre": None})
    lines: list[str] = []
    convert_model(str(tmp_path / "m.gguf"), tmp_path / "out", lines.append)

    assert any("tokenizer.ggml.pre" in line and "'default'" in line for line in lines)


@pytest.mark.parametrize("kind", ["t5", "bert", "rwkv", None])
def test_another_kind_of_tokenizer_is_refused_by_name(smollm2_metadata: dict[str, Any], kind: str | None):
    with pytest.raises(UnsupportedModelError, match=f"of the kind {kind!r}"):
        ids(smollm2_metadata | {"tokenizer.ggml.model": kind}, "a")


@pytest.mark.parametrize(
    ("rule", "said", "begins", "ends"),
    [
        ("smollm", {}, False, False),
        ("smollm", {"add_bos_token": True}, True, False),
        ("smollm", {"add_bos_token": True, "add_eos_token": True}, True, True),
        ("smollm", {"add_eos_token": True}, False, True),
        ("llama-bpe", {}, True, False),
        ("llama-bpe", {"add_bos_token": False}, False, False),
        ("tekken", {}, True, False),
        ("smaug-bpe", {}, False, False),
    ],
)
def test_begin_and_end_are_added_as_the_file_or_its_rule_says(
    tmp_path: Path, rule: str, said: dict[str, bool], begins: bool, ends: bool
):
    """Also where `transformers` reads the files."""
    metadata = pairs_fields(TEXTS) | {"tokenizer.ggml.pre": rule}
    metadata |= {f"tokenizer.ggml.{key}": value for key, value in said.items()}
    vocabulary = read_vocabulary(metadata)
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer_json(metadata, vocabulary)))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(tokenizer_config(metadata, vocabulary)))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    a = vocabulary.texts.index("a")
    expected = [vocabulary.bos] * begins + [a] + [vocabulary.eos] * ends

    assert ids(metadata, "a") == [expected]
    assert tokenizer("a").input_ids == expected
    assert tokenizer("a", add_special_tokens=False).input_ids == [a]


def test_a_begin_token_that_the_file_does_not_name_is_refused(smollm2_metadata: dict[str, Any]):
    metadata = smollm2_metadata | {
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.bos_token_id": 1 << 20,
    }

    with pytest.raises(ModelError, match=r"add_bos_token.*doesn't name it .*bos_token_id"):
        ids(metadata, "a")


def test_control_and_user_defined_tokens_are_recognised_and_ordinary_ones_are_not(
    smollm2_metadata: dict[str, Any],
):
    """<file_sep> by its kind in the file; the ends of turns whatever the file says, as in llama.cpp."""
    kinds = list(smollm2_metadata["tokenizer.ggml.token_type"])
    separator = smollm2_metadata["tokenizer.ggml.tokens"].index("<file_sep>")
    found = {}
    for kind in (1, 2, 3, 4, 5):
        kinds[separator] = kinds[2] = kind
        [found[kind]] = ids(smollm2_metadata | {"tokenizer.ggml.token_type": kinds}, "<file_sep><|im_end|>")

    assert found[2] == found[3] == found[4] == [separator, 2]
    assert found[1] == found[5]
    assert separator not in found[1]
    assert found[1][-1] == 2


def test_an_ordinary_token_that_serves_for_padding_stays_in_the_text(smollm2_metadata: dict[str, Any]):
    """Some files pad with "!"."""
    exclamation = smollm2_metadata["tokenizer.ggml.tokens"].index("!")
    metadata = smollm2_metadata | {"tokenizer.ggml.padding_token_id": exclamation}

    assert "pad_token" not in tokenizer_config(metadata, read_vocabulary(metadata))
    assert tokenizer_config(smollm2_metadata, read_vocabulary(smollm2_metadata))["pad_token"] == "<|im_end|>"


def test_sentencepiece_files_mean_llamas_special_tokens_unless_they_name_others():
    """As in llama.cpp. Without an end token, an answer would never end."""
    names = ("bos", "eos", "unknown")
    metadata = {
        key: value
        for key, value in sentencepiece_fields().items()
        if key not in {f"tokenizer.ggml.{name}_token_id" for name in names}
    }
    vocabulary = read_vocabulary(metadata)

    assert (vocabulary.bos, vocabulary.eos, vocabulary.unknown) == (1, 2, 0)
    assert ids(metadata, "a<s>a") == ids(sentencepiece_fields(), "a<s>a")


def test_sentencepiece_puts_a_blank_before_a_text_unless_the_file_says_otherwise():
    """And before each text that follows a special token."""
    tokens = sentencepiece_fields()["tokenizer.ggml.tokens"]
    a, blank_a = tokens.index("a"), tokens.index("▁a")
    without = sentencepiece_fields() | {"tokenizer.ggml.add_space_prefix": False}

    assert ids(sentencepiece_fields(), "a<x>a") == [[1, blank_a, len(tokens) - 1, blank_a]]
    assert ids(without, "a<x>a") == [[1, a, len(tokens) - 1, a]]
    assert built(sentencepiece_fields()).decode([1, blank_a, a]) == "aa"
    assert built(without).decode([1, blank_a, a]) == " aa"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tokens": None}, "tokenizer.ggml.tokens is missing"),
        ({"tokens": ["a", "b", "a"]}, "lists the token 'a' 2 times"),
        ({"token_type": [1]}, "tokenizer.ggml.token_type doesn't have a number for each of the"),
        ({"scores": "high"}, "tokenizer.ggml.scores doesn't have a number"),
        ({"merges": None}, "no merges"),
        ({"merges": ["ab"]}, "a merge of one part: 'ab'"),
    ],
)
def test_a_tokenizer_that_does_not_fit_itself_is_one_clear_error(
    smollm2_metadata: dict[str, Any], changed: dict[str, Any], message: str
):
    metadata = smollm2_metadata | {f"tokenizer.ggml.{name}": value for name, value in changed.items()}

    with pytest.raises(ModelError, match=message):
        ids(metadata, "a")


def test_every_accepted_rule_has_a_pattern_for_every_text():
    """A rule whose pattern can't be compiled would surprise the first user of it."""
    for name in SPLITS:
        assert splits_of(name).pre_tokenizer(())["pretokenizers"]


@pytest.mark.parametrize("names", RULES, ids=[names[0] or "missing" for names in RULES])
def test_random_texts_give_the_ids_of_llama_cpp(smollm2_file: Path, names: tuple[str, ...]):
    """Only where llama-cpp-python is installed: it isn't needed for the tests."""
    if importlib.util.find_spec("llama_cpp") is None:
        pytest.skip("llama-cpp-python is not installed; the stored ids were compared")
    metadata = metadata_for(names[0], smollm2_file)
    oracle, tokenizer = LlamaCpp(metadata), built(metadata)
    for text in random_texts(300, seed=5):
        assert tokenizer.encode(text).ids == oracle.ids(text), text
