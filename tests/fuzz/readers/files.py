"""Readers of models: what the swarm and the hub give, and files that lie on a disk."""

from __future__ import annotations

import json
import struct
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from p2pinfer.errors import ModelError, ProtocolError, StoreError
from p2pinfer.model.formats.gguf.file import GgufFile
from p2pinfer.model.formats.hf.configs import generation_fields, licence_of, parse_object, weight_files
from p2pinfer.model.formats.hf.safetensors_header import header_bytes, parse_header
from p2pinfer.model.formats.hf.sentence import read_pooling
from p2pinfer.model.layer_store.chunks import FileEntry
from p2pinfer.model.layer_store.journal import JOURNAL_FILE, Journal
from p2pinfer.model.layer_store.manifest import Manifest, hash_of
from p2pinfer.model.layer_store.names import CONFIG_FILE, ENDS_FILE, layer_file
from p2pinfer.model.layer_store.origin import Origin, TensorPlace
from p2pinfer.model.layer_store.outline import check_outline
from p2pinfer.model.text.chat_template import ChatTemplate
from p2pinfer.model.text.tokenizer import Tokenizer
from p2pinfer.sharing import bitmaps
from p2pinfer.sharing.manifest_summary import ManifestSummary
from p2pinfer.sharing.safety import check_manifest, check_small_files
from tests.fuzz.reader import Reader
from tests.fuzz.readers.gguf_sample import gguf_file
from tests.fuzz.spoiling.spoiler import Form

_FOLDER = Path(tempfile.mkdtemp(prefix="p2pinfer-fuzz-"))
_CONFIG = {
    "model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64, "vocab_size": 128, "head_dim": 16,
    "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5,
    "max_position_embeddings": 128, "hidden_act": "silu", "eos_token_id": [1, 2], "tie_word_embeddings": True,
    "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
}  # fmt: skip
_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
_TOKENIZER = {
    "version": "1.0",
    "added_tokens": [
        {"id": 1, "content": "</s>", "special": True, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False}
    ],
    "normalizer": None,
    "pre_tokenizer": _BYTE_LEVEL,
    "decoder": _BYTE_LEVEL,
    "model": {
        "type": "BPE", "vocab": {"<unk>": 0, "</s>": 1, "a": 2, "b": 3, "ab": 4}, "merges": [["a", "b"]],
    },
}  # fmt: skip


def _manifest() -> Manifest:
    entry = FileEntry("ab" * 32, 1000, ("cd" * 32,))
    files = dict.fromkeys((CONFIG_FILE, ENDS_FILE, layer_file(0), layer_file(1)), entry)
    return Manifest(
        hash=hash_of(files),
        name="tiny",
        model_type="llama",
        num_layers=2,
        hidden_size=64,
        vocab_size=128,
        max_positions=128,
        files=files,
        origin=Origin(
            format="safetensors BF16",
            hub_id="org/tiny",
            revision="0" * 40,
            licence="mit",
            tensors={"norm.weight": TensorPlace("model.safetensors", 8, 16)},
        ),
    )


def manifests() -> Reader:
    """Also those whose hash fits what they say: strangers compute it."""

    def read(data: bytes) -> None:
        check_outline(data)
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise StoreError("no text") from error
        try:
            manifest = Manifest.from_json(text)
        except StoreError as error:
            if "the hash does not fit" not in str(error):
                raise
            said = json.loads(text)
            files = {
                name: FileEntry(one["sha256"], one["bytes"], tuple(_parts(one["chunks"])))
                for name, one in said["files"].items()
            }
            manifest = Manifest.from_json(json.dumps(said | {"hash": hash_of(files)}))
        check_manifest(manifest)
        assert manifest.chunks.total >= 0
        ManifestSummary.from_json(ManifestSummary.of(manifest).to_json())
        Manifest.from_json(manifest.to_json())

    samples = [_manifest().to_json().encode()]
    return Reader(samples=samples, form=Form.JSON, read=read, errors=(ModelError,))


def _parts(chunks: str) -> list[str]:
    return [chunks[start : start + 64] for start in range(0, len(chunks), 64)]


def summaries() -> Reader:
    def read(data: bytes) -> None:
        ManifestSummary.from_json(data.decode(errors="replace"))

    samples = [ManifestSummary.of(_manifest()).to_json().encode()]
    return Reader(samples=samples, form=Form.JSON, read=read, errors=(StoreError,))


def chunk_bitmaps() -> Reader:
    samples = [bitmaps.pack(bitmaps.mask_of([0, 5, 99], 100)), bytes(12)]

    def read(data: bytes) -> None:
        with suppress(ProtocolError):
            bitmaps.unpack(data, 64, 100)
        assert len(bitmaps.unpack(data, 0, 100)) == 100

    return Reader(samples=samples, form=Form.BYTES, read=read, errors=(ProtocolError,))


def small_files() -> Reader:
    """A config from the swarm, and from the hub."""
    manifest = _manifest()

    def read(data: bytes) -> None:
        config = parse_object(data.decode(errors="replace"), CONFIG_FILE)
        generation_fields(config, None)
        weight_files(config)
        check_small_files(manifest, {CONFIG_FILE: data})

    samples = [json.dumps(_CONFIG).encode()]
    return Reader(samples=samples, form=Form.JSON, read=read, errors=(ModelError,))


def sentence_files() -> Reader:
    """What says how embeddings are pooled."""
    modules = [
        {"type": "sentence_transformers.models.Transformer", "path": ""},
        {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
    ]

    def read(data: bytes) -> None:
        read_pooling(lambda name: data, {})

    samples = [json.dumps(modules).encode(), json.dumps({"pooling_mode": "mean"}).encode()]
    return Reader(samples=samples, form=Form.JSON, read=read, errors=(ModelError,))


def cards() -> Reader:
    sample = b"---\nlicense: other\nlicense_name: mine\ntags:\n- a\n---\n# A model\n"

    def read(data: bytes) -> None:
        licence_of(data.decode(errors="replace"))

    return Reader(samples=[sample], form=Form.BYTES, read=read, errors=())


def safetensors() -> Reader:
    listed = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
    }
    body = bytes(32)

    def read(text: bytes) -> None:
        header = struct.pack("<Q", len(text)) + text
        header_bytes(header, len(header) + len(body), "it")
        parse_header(header, len(header) + len(body), "it")

    samples = [json.dumps(listed).encode()]
    return Reader(samples=samples, form=Form.JSON, read=read, errors=(ModelError,))


def journals() -> Reader:
    entry = FileEntry("ab" * 32, 1000, ("cd" * 32,))
    key = {"source": "here", "version": 3}
    folder = _FOLDER / "journal"
    journal = Journal(folder, key)
    journal.add(ENDS_FILE, entry)
    journal.add(layer_file(0), entry)
    sample = (folder / JOURNAL_FILE).read_bytes()

    def read(data: bytes) -> None:
        folder.mkdir(exist_ok=True)
        (folder / JOURNAL_FILE).write_bytes(data)
        found = Journal(folder, key)
        found.kept_bytes()
        found.finished(ENDS_FILE, kept=True)

    return Reader(samples=[sample], form=Form.BYTES, read=read, errors=())


def gguf_files() -> Reader:
    """Header, config, vocabulary and tokenizer; two words of weights are all that is there."""
    path, tokenizer = _FOLDER / "tiny.gguf", _FOLDER / "tokenizer"
    tokenizer.mkdir(exist_ok=True)

    def read(data: bytes) -> None:
        path.write_bytes(data)
        file = GgufFile(path)
        _ = file.origin, file.remarks, file.generation_config
        file.write_tokenizer(tokenizer)

    samples = [gguf_file(), gguf_file(tokenizer__ggml__model="llama")]
    return Reader(samples=samples, form=Form.BYTES, read=read, errors=(ModelError,))


def tokenizers() -> Reader:
    folder = _FOLDER / "tokenizers"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(_CONFIG))

    def read(data: bytes) -> None:
        (folder / "tokenizer.json").write_bytes(data)
        tokenizer = Tokenizer.load(folder)
        tokenizer.encode("ab ba")

    samples = [json.dumps(_TOKENIZER).encode()]
    return Reader(samples=samples, form=Form.JSON, read=read, errors=(ModelError,))


def chat_templates() -> Reader:
    from p2pinfer.errors import UsageError

    samples = [
        b"{% for message in messages %}<|im_start|>{{ message['role'] + '\n' + message['content'] }}\n"
        b"{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        b"{%- macro m(x) %}{{ x | tojson }}{% endmacro %}{{ m(tools) }}"
        b"{% if x %}{{ raise_exception('no') }}{% endif %}",
        b"{% set ns = namespace(n=0) %}{% for i in range(9) %}{% set ns.n = ns.n + i %}{% endfor %}"
        b"{{ ns.n * 3 }}",
    ]
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]

    def read(data: bytes) -> None:
        template = ChatTemplate({"default": data.decode(errors="replace")}, {"bos_token": "<s>"}, "it")
        template.render(messages, tools=[{"type": "function"}])

    errors = (ModelError, UsageError)
    return Reader(samples=samples, form=Form.BYTES, read=read, errors=errors)


READERS: Mapping[str, Callable[[], Reader]] = {
    "manifests": manifests,
    "summaries": summaries,
    "bitmaps": chunk_bitmaps,
    "configs": small_files,
    "pooling": sentence_files,
    "cards": cards,
    "safetensors": safetensors,
    "journals": journals,
    "gguf": gguf_files,
    "tokenizers": tokenizers,
    "chat-templates": chat_templates,
}
