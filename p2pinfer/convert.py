"""`python -m p2pinfer.convert MODEL --out FOLDER`: turn a model into INT8 layers once, to copy around."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from p2pinfer.errors import P2PInferError
from p2pinfer.model.families import FAMILIES
from p2pinfer.model.source import convert_model


def main(argv: Sequence[str] | None = None) -> int:
    """Convert and print a summary. Returns the process's exit status."""
    arguments = _parser().parse_args(argv)
    started = time.monotonic()
    try:
        store = convert_model(arguments.model, arguments.out, lambda line: print(line, flush=True))
    except P2PInferError as error:
        print(f"p2pinfer.convert: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("p2pinfer.convert: stopped, nothing was kept", file=sys.stderr)
        return 130
    manifest = store.manifest
    size_bytes = sum(entry.bytes for entry in manifest.files.values())
    print(
        f"{store.folder}: {manifest.name}, {manifest.num_layers} layers, {size_bytes / 1e6:.0f} MB, "
        f"{time.monotonic() - started:.1f} s\nmodel hash {manifest.hash}"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m p2pinfer.convert",
        description="Convert a model into p2pinfer's INT8 layer store. Servers and clients do this by "
        "themselves and keep the result in their cache; convert by hand to copy the store to other machines.",
        epilog=f"Decoder families: {', '.join(sorted(FAMILIES))}.",
    )
    parser.add_argument(
        "model", metavar="MODEL", help="a Hugging Face model id, a folder with safetensors, or a .gguf file"
    )
    parser.add_argument(
        "--out", metavar="FOLDER", type=Path, required=True, help="a new folder for the store"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
