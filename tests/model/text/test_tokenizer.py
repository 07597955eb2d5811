"""Tokenizers from a store's files: the same tokens as with transformers, and an error for what is none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, processors
from tokenizers import Tokenizer as Backend
from transformers import AutoTokenizer

from p2pinfer.errors import ModelError, UsageError
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.text import backend
from p2pinfer.model.text.tokenizer import Tokenizer
from tests.model.formats.gguf.llama_cpp_oracle import TEXTS, random_texts
from tests.model.text.tiny_tokenizers import byte_level, save, sentencepiece

PLAIN = {"tokenizer_class": "TokenizersBackend", "backend": "tokenizers"}


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"{", b"\xff\xfe", b'{"model": "llama"}', b"[" * 99999]
)
def test_a_file_that_is_no_tokenizer_is_a_model_error(tmp_path: Path, content: bytes):
    (tmp_path / "tokenizer.json").write_bytes(content)

    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        Tokenizer.load(tmp_path)


def test_a_folder_without_tokenizer_json_is_refused_with_what_to_do(tmp_path: Path):
    """How text is split into words stands in no other file."""
    (tmp_path / "vocab.json").write_text("{}")

    with pytest.raises(ModelError, match="save_pretrained"):
        Tokenizer.load(tmp_path)


def test_a_huge_tokenizer_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    save(byte_level(), tmp_path)
    monkeypatch.setattr(backend, "MOST_BYTES", 1000)

    with pytest.raises(ModelError, match="MiB"):
        Tokenizer.load(tmp_path)


def test_a_token_id_beyond_all_vocabularies_is_refused(tmp_path: Path):
    """Scores have a place for every id below the highest: an id of four billion would take the memory."""
    fields = json.loads(byte_level().to_str())
    fields["model"]["vocab"]["ab"] = 4_000_000_000
    (tmp_path / "tokenizer.json").write_text(json.dumps(fields))

    with pytest.raises(ModelError):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("name", ["tokenizer_config", "generation_config", "config", "special_tokens_map"])
@pytest.mark.parametrize("content", ["", "[]", "{", "null", '"text"'])
def test_a_malformed_file_beside_it_is_a_model_error_that_names_the_file(
    tmp_path: Path, name: str, content: str
):
    save(byte_level(), tmp_path)
    (tmp_path / f"{name}.json").write_text(content)

    with pytest.raises(ModelError, match=name):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("end", [True, -1, "2", 1.5, [2, "3"], [[2]], {"a": 1}, [None]])
def test_end_tokens_that_are_none_are_a_model_error(tmp_path: Path, end: Any):
    save(byte_level(), tmp_path, generation_config={"eos_token_id": end})

    with pytest.raises(ModelError, match="eos_token_id"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize(
    "strange",
    [
        {"bos_token": 5, "eos_token": ["<s>"], "additional_special_tokens": {"a": 1}},
        {"additional_special_tokens": "no list", "add_bos_token": "yes"},
        {"eos_token": "no token of the vocabulary", "add_eos_token": True, "add_bos_token": True},
    ],
)
def test_strange_names_in_a_config_are_left_out(tmp_path: Path, strange: dict[str, Any]):
    tokenizer = Tokenizer.load(save(sentencepiece(), tmp_path, tokenizer_config=strange))

    assert tokenizer.decode(tokenizer.encode("ab the")) == "ab the"
    assert tokenizer.end_tokens == frozenset()


def test_half_a_character_is_no_text(tmp_path: Path):
    """JSON can carry a lone surrogate; UTF-8 can't."""
    tokenizer = Tokenizer.load(save(byte_level(), tmp_path))

    with pytest.raises(UsageError, match="half a character at place 1"):
        tokenizer.encode("a\ud83d")


def test_ids_that_are_none_have_no_text(tmp_path: Path):
    """A model may have more scores than its tokenizer has tokens."""
    tokenizer = Tokenizer.load(save(byte_level(), tmp_path))

    assert tokenizer.decode([-1, 1 << 40, *tokenizer.encode("ab"), 99999]) == "ab"
    assert tokenizer.token_bytes(-1) == tokenizer.token_bytes(1 << 40) == b""
    assert tokenizer.token_text(99999) is None


@pytest.mark.parametrize(
    ("generation", "config", "expected"),
    [
        ({"eos_token_id": 2}, {"eos_token_id": 5}, {2}),
        ({"eos_token_id": [2, 7]}, {"eos_token_id": 5}, {2, 7}),
        ({}, {"eos_token_id": 5}, {5}),
        ({}, {"model_type": "gemma3", "text_config": {"eos_token_id": [5, 6]}}, {5, 6}),
        ({"eos_token_id": None}, {}, set()),
    ],
)
def test_end_tokens_come_from_the_generation_config_first(
    tmp_path: Path, generation: dict[str, Any], config: dict[str, Any], expected: set[int]
):
    folder = save(sentencepiece(), tmp_path, generation_config=generation, config=config)

    assert Tokenizer.load(folder).end_tokens == expected


def test_the_end_token_that_the_tokenizer_names_ends_a_text_too(tmp_path: Path):
    """Chat models end a turn with it, whatever their generation config says."""
    folder = save(
        byte_level(),
        tmp_path,
        generation_config={"eos_token_id": 1},
        tokenizer_config={"eos_token": {"content": "<|im_end|>"}},
    )
    tokenizer = Tokenizer.load(folder)

    assert tokenizer.end_tokens == {1, tokenizer.token_id("<|im_end|>")}


def with_template(tokenizer: Backend) -> Backend:
    """A tokenizer that begins every text by itself."""
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B:1", special_tokens=[("<s>", 1)]
    )
    return tokenizer


SURROUNDINGS: list[dict[str, Any]] = [
    {},
    {"add_bos_token": True},
    {"add_bos_token": False},
    {"add_bos_token": True, "add_eos_token": True},
    {"add_eos_token": True},
    {"pad_token": "ab", "additional_special_tokens": ["the"]},
]


@pytest.mark.parametrize("surroundings", SURROUNDINGS)
@pytest.mark.parametrize("by_itself", [True, False])
@pytest.mark.parametrize("metaspace", [True, False])
def test_tokens_are_those_of_transformers(
    tmp_path: Path, surroundings: dict[str, Any], by_itself: bool, metaspace: bool
):
    """What begins and ends a text, and which tokens are special, is said in two files."""
    made = sentencepiece(metaspace=metaspace)
    config = PLAIN | {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"} | surroundings
    folder = save(with_template(made) if by_itself else made, tmp_path, tokenizer_config=config)
    own, theirs = Tokenizer.load(folder), AutoTokenizer.from_pretrained(folder)

    for text in ("", "ab the", "  abc</s>ab", "the ab<tool>x é你🙂\ud7ff"):
        for special in (True, False):
            ids = own.encode(text, add_special_tokens=special)
            assert ids == theirs(text, add_special_tokens=special)["input_ids"]
            assert own.decode(ids) == theirs.decode(ids, skip_special_tokens=True)
            assert own.decode(ids, skip_special=False) == theirs.decode(ids)
    assert set(theirs.all_special_ids) <= own.special_ids


def test_the_small_real_model_is_read_as_transformers_reads_it(smollm2: LayerStore):
    own, theirs = Tokenizer.load(smollm2.folder), AutoTokenizer.from_pretrained(smollm2.folder)

    for text in (*TEXTS, *random_texts(100, seed=16)):
        ids = own.encode(text)
        assert ids == theirs(text)["input_ids"]
        assert own.decode(ids) == theirs.decode(ids, skip_special_tokens=True)
    assert (own.vocab_size, own.end_tokens) == (len(theirs), {theirs.eos_token_id})
    assert set(theirs.all_special_ids) <= own.special_ids


@pytest.mark.parametrize("make", [byte_level, sentencepiece, lambda: sentencepiece(metaspace=True)])
def test_the_bytes_of_tokens_make_up_the_text(tmp_path: Path, make: Any):
    """For log probabilities, and for grammars."""
    tokenizer = Tokenizer.load(save(make(), tmp_path))
    text = "ab the é你好🙂  x\n"
    ids = tokenizer.encode(text, add_special_tokens=False)

    assert b"".join(map(tokenizer.token_bytes, ids)).decode().removeprefix(" ") == text
    assert tokenizer.token_bytes(tokenizer.vocab_size - 1) in (b"<tool>", "<think> 你".encode())


def test_a_tokenizer_does_not_cut_or_pad_texts(tmp_path: Path):
    """Files of embedding models often say so."""
    made = byte_level()
    made.enable_truncation(2)
    made.enable_padding(length=9)

    assert len(Tokenizer.load(save(made, tmp_path)).encode("a b a b")) == 6


def test_reading_a_tokenizer_loads_neither_torch_nor_transformers(tmp_path: Path):
    """The gateway has to fit into little memory."""
    save(byte_level(), tmp_path)
    program = (
        "import sys; from pathlib import Path; import p2pinfer.model.text.chat_template;"
        "import p2pinfer.model.sampling.text_state;"
        "from p2pinfer.model.text.tokenizer import Tokenizer; Tokenizer.load(Path(sys.argv[1]));"
        "print([m for m in ('torch', 'transformers', 'jinja2') if m in sys.modules])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    ).stdout

    assert printed.strip() == "[]"


def test_tokens_that_are_added_as_special_stay_special(tmp_path: Path):
    made = byte_level()
    made.add_special_tokens([AddedToken("<|eot|>", special=True)])
    tokenizer = Tokenizer.load(save(made, tmp_path))

    assert tokenizer.decode(tokenizer.encode("ab<|eot|>")) == "ab"
    assert tokenizer.token_id("<|eot|>") in tokenizer.special_ids
