"""Names of a GGUF file's tensors, and which of them a model of an architecture has. Pure."""

from __future__ import annotations

from collections.abc import Iterator

OUTER = {
    "token_embd.weight": "embed_tokens.weight",
    "output_norm.weight": "norm.weight",
    "output.weight": "lm_head.weight",
}
_ATTENTION = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
}
_MLP = {"ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
_NORMS = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
_HEAD_NORMS = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
_LAYER = {**_ATTENTION, **_MLP, **_NORMS, **_HEAD_NORMS}


def store_name(name: str) -> str:
    """A tensor's name in a store; an unknown name stays as it is."""
    parts = name.split(".")
    if len(parts) == 4 and parts[0] == "blk" and parts[2] in _LAYER:
        return f"layers.{parts[1]}.{_LAYER[parts[2]]}.{parts[3]}"
    return OUTER.get(name, name)


def known_names(architecture: str, num_layers: int, *, attention_bias: bool, mlp_bias: bool) -> Iterator[str]:
    """The store names of all tensors that a model of an architecture uses."""
    weights, biases = {**_ATTENTION, **_MLP, **_NORMS}, dict[str, str]()
    if architecture == "qwen3":
        weights |= _HEAD_NORMS
    if attention_bias:
        biases |= _ATTENTION
    if architecture == "qwen2":
        biases |= {name: inner for name, inner in _ATTENTION.items() if name != "attn_output"}
    if mlp_bias:
        biases |= _MLP
    yield from OUTER.values()
    for layer in range(num_layers):
        yield from (f"layers.{layer}.{inner}.weight" for inner in weights.values())
        yield from (f"layers.{layer}.{inner}.bias" for inner in biases.values())
