"""`python -m p2pinfer.convert MODEL --out FOLDER`: turn a model into INT8 layers once, to copy around."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from p2pinfer.command_line.flags import path
from p2pinfer.command_line.output import complain, say
from p2pinfer.command_line.program import FAILED, INTERRUPTED, Parser, program_parser, run
from p2pinfer.model.families import FAMILIES


def main(argv: Sequence[str] | None = None) -> int:
    """Convert and print a summary. Returns the exit status."""
    return run("convert", lambda: _main(argv), usage_status=FAILED)


def _main(argv: Sequence[str] | None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        _convert(arguments.model, arguments.out)
    except KeyboardInterrupt:
        complain("p2pinfer.convert: stopped, nothing was kept")
        return INTERRUPTED
    return 0


def _convert(model: str, out: Path) -> None:
    from p2pinfer.model.source import convert_model  # after the flags: it loads numpy

    started = time.monotonic()
    store = convert_model(model, out, say)
    manifest = store.manifest
    size_bytes = sum(entry.bytes for entry in manifest.files.values())
    say(
        f"{store.folder}: {manifest.name}, {manifest.num_layers} layers, {size_bytes / 1e6:.0f} MB, "
        f"{time.monotonic() - started:.1f} s\nmodel hash {manifest.hash}"
    )


def _parser() -> Parser:
    parser = program_parser(
        "convert",
        description="Convert a model into p2pinfer's INT8 layer store. Servers and clients do this by "
        "themselves and keep the result in their cache. Convert by hand to copy the store to other machines.",
        epilog=f"Decoder families: {', '.join(sorted(FAMILIES))}.",
    )
    parser.add_argument(
        "model", metavar="MODEL", help="a Hugging Face model id, a folder with safetensors, or a .gguf file"
    )
    parser.add_argument(
        "--out", metavar="FOLDER", type=path, required=True, help="a new folder for the store"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
