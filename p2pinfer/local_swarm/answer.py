"""Asks the swarm one question, and prints the answer token by token, its route and its speed.

This module loads torch and transformers: import it late.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoTokenizer, TextStreamer

from p2pinfer import AutoDistributedModelForCausalLM
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.types import short_id


class TimedStreamer(TextStreamer):
    """Prints text as soon as a word is complete, and notes the time of each token."""

    def __init__(self, tokenizer: Any) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self.token_times: list[float] = []
        self._prompt_seen = False

    def put(self, value: Any) -> None:
        """Take the prompt first, then one token per call. `generate` calls this."""
        if self._prompt_seen:
            self.token_times.append(time.monotonic())
        self._prompt_seen = True
        super().put(value)  # type: ignore[no-untyped-call]


def encode_prompt(tokenizer: Any, prompt: str) -> torch.Tensor:
    """The prompt's token ids, [1, tokens], in the model's chat form if it has one."""
    if tokenizer.chat_template is None:
        return tokenizer(prompt, return_tensors="pt").input_ids  # type: ignore[no-any-return]
    messages = [{"role": "user", "content": prompt}]
    encoded = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    return encoded.input_ids  # type: ignore[no-any-return]


def stream_answer(
    store: LayerStore,
    initial_peers: list[str],
    prompt: str,
    *,
    max_new_tokens: int,
    wire_dtype: str,
    say: Callable[[str], None],
) -> None:
    """Print the answer token by token, then the route it took and its speed.

    A hop's milliseconds are its whole computing time, with the prompt, divided by the answer's tokens.
    """
    tokenizer = AutoTokenizer.from_pretrained(store.folder)
    model = AutoDistributedModelForCausalLM.from_pretrained(
        str(store.folder), initial_peers=initial_peers, wire_dtype=wire_dtype
    )
    try:
        ids = encode_prompt(tokenizer, prompt)
        say(f"\n> {prompt}\n")
        streamer = TimedStreamer(tokenizer)
        started = time.monotonic()
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            streamer=streamer,
        )
        say("\nroute")
        for hop in model.route_report():
            milliseconds = 1000 * hop.compute_seconds / max(len(streamer.token_times), 1)
            pace, way = f"{milliseconds:6.2f} ms per token", "" if hop.way is None else f"  {hop.way}"
            say(f"  peer {short_id(hop.peer_id)}  layers {hop.layers!s:>7}  {pace}{way}")
        say(describe_speed(streamer.token_times, started))
    finally:
        model.close()


def describe_speed(token_times: list[float], started: float) -> str:
    """One line: the number of tokens, the time to the first, the rate of the others."""
    if not token_times:
        return "no token was generated"
    line = f"{len(token_times)} tokens, the first after {token_times[0] - started:.2f} s"
    if len(token_times) > 1 and token_times[-1] > token_times[0]:
        line += f", then {(len(token_times) - 1) / (token_times[-1] - token_times[0]):.1f} tokens/s"
    return line
