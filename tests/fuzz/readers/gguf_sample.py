"""A GGUF file of one tiny layer, written by hand: the libraries that write them take seconds to import."""

from __future__ import annotations

import struct
from typing import Any

_VOCABULARY = 104
_LETTERS = [chr(code) for code in range(33, 33 + 94)]
_WORDS = ["<unk>", "<s>", "</s>", *_LETTERS, "ab", *(f"<{number}>" for number in range(6))]
_FIELDS: dict[str, Any] = {
    "general.architecture": "llama",
    "general.alignment": 32,
    "general.license": "mit",
    "llama.block_count": 1,
    "llama.context_length": 64,
    "llama.embedding_length": 4,
    "llama.feed_forward_length": 4,
    "llama.attention.head_count": 2,
    "llama.attention.head_count_kv": 1,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.rope.freq_base": 1e4,
    "llama.rope.scaling.type": "linear",
    "llama.rope.scaling.factor": 2.0,
    "tokenizer.chat_template": "{{ messages }}",
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "default",
    "tokenizer.ggml.tokens": _WORDS,
    "tokenizer.ggml.token_type": [3] * 3 + [1] * (_VOCABULARY - 3),
    "tokenizer.ggml.scores": [0.5] * _VOCABULARY,
    "tokenizer.ggml.merges": ["a b"],
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.add_bos_token": True,
}
_TENSORS = {
    "token_embd.weight": (_VOCABULARY, 4),
    "output_norm.weight": (4,),
    "blk.0.attn_norm.weight": (4,),
    "blk.0.ffn_norm.weight": (4,),
    "blk.0.attn_q.weight": (4, 4),
    "blk.0.attn_k.weight": (2, 4),
    "blk.0.attn_v.weight": (2, 4),
    "blk.0.attn_output.weight": (4, 4),
    "blk.0.ffn_gate.weight": (4, 4),
    "blk.0.ffn_up.weight": (4, 4),
    "blk.0.ffn_down.weight": (4, 4),
}
_ALIGNMENT = 32
_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
_PACKED = {_UINT32: "<I", _INT32: "<i", _FLOAT32: "<f", _BOOL: "<?"}


def gguf_file(**changed: Any) -> bytes:
    """The file, with other fields if some are given; dots in their names are written as two underscores."""
    fields = _FIELDS | {name.replace("__", "."): value for name, value in changed.items()}
    head = b"GGUF" + struct.pack("<IQQ", 3, len(_TENSORS), len(fields))
    for name, value in fields.items():
        head += _text(name) + struct.pack("<I", _kind(value)) + _value(value)
    offset = 0
    for name, shape in _TENSORS.items():
        head += _text(name) + struct.pack("<I", len(shape))
        head += b"".join(struct.pack("<Q", size) for size in reversed(shape)) + struct.pack("<IQ", 0, offset)
        offset += _aligned(_bytes(shape))
    return head + bytes(_aligned(len(head)) - len(head)) + bytes(offset)


def _kind(value: Any) -> int:
    if isinstance(value, bool):
        return _BOOL
    kinds = {int: _UINT32, float: _FLOAT32, str: _STRING, list: _ARRAY}
    return kinds[type(value)]


def _value(value: Any) -> bytes:
    match _kind(value):
        case kind if kind == _STRING:
            return _text(value)
        case kind if kind == _ARRAY:
            inner = _INT32 if isinstance(value[0], int) else _kind(value[0])
            items = [_text(one) if inner == _STRING else struct.pack(_PACKED[inner], one) for one in value]
            return struct.pack("<IQ", inner, len(value)) + b"".join(items)
        case kind:
            return struct.pack(_PACKED[kind], value)


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _bytes(shape: tuple[int, ...]) -> int:
    count = 4
    for size in shape:
        count *= size
    return count


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
