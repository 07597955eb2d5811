"""Hints for names that Petals and transformers have, and p2pinfer doesn't."""

from __future__ import annotations

_LAYERS = (
    "the decoder layers are with the swarm's servers: generate() and model(ids).logits run them, "
    "model.inference_session(max_length=...) keeps their caches, model.remote.ends has embeddings and head"
)
_ATTRIBUTES = {
    **dict.fromkeys(("transformer", "model", "h", "layers", "decoder", "gpt_neox"), _LAYERS),
    **dict.fromkeys(("lm_head", "embed_tokens", "wte", "word_embeddings", "norm", "ln_f"), _LAYERS),
    "active_adapter": "adapters are not supported: servers run the model's own weights",
    "active_session": "use `with model.inference_session(max_length=...) as session`",
    "use_session": "use `with model.inference_session(max_length=...) as session`",
}
_SESSION_ATTRIBUTES = {
    "step": "model.generate(text) and model(ids, past_key_values=...) run tokens through the session",
    "position": "session.tokens has the rows that the servers hold",
    "output_ids": "session.tokens has the rows that the servers hold",
    "last_token_id": "session.tokens has the rows that the servers hold",
}


def attribute_hint(name: str) -> str | None:
    """Return what to use instead of this attribute of a model; None if it is no name of Petals'."""
    return _ATTRIBUTES.get(name)


def session_attribute_hint(name: str) -> str | None:
    """Return what to use instead of this attribute of a session; None if it is no name of Petals'."""
    return _SESSION_ATTRIBUTES.get(name)
