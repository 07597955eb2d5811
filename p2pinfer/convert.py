"""`python -m p2pinfer.convert MODEL --out FOLDER`: turn a model into INT8 layers once, to copy around.

`--share-only START:END` keeps some layers and the manifest of all. `--verify` converts a model again and
compares it with a manifest.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence

from p2pinfer.command_line.flags import folder, path, span, text, whole_number
from p2pinfer.command_line.output import complain, say
from p2pinfer.command_line.program import FAILED, INTERRUPTED, WRONG_USAGE, Parser, program_parser, run
from p2pinfer.errors import P2PInferError
from p2pinfer.folders import user_cache_folder
from p2pinfer.model.families import FAMILIES

_NO_LAYERS = range(0)


def main(argv: Sequence[str] | None = None) -> int:
    """Convert or verify, and print a summary. Returns the exit status."""
    return run("convert", lambda: _main(argv), usage_status=FAILED)


def _main(argv: Sequence[str] | None) -> int:
    parser = _parser()
    arguments = parser.parse_args(argv)
    if (problem := _problem(arguments)) is not None:
        parser.error(problem)
    if arguments.verify is not None:
        try:
            return _verify(arguments)
        except P2PInferError as error:  # that they differ has a status of its own
            complain(f"p2pinfer.convert: {error}")
            return WRONG_USAGE
    try:
        _convert(arguments)
    except KeyboardInterrupt:
        from p2pinfer.model.source import unfinished_folder

        is_kept = unfinished_folder(arguments.out.absolute()).exists()
        complain(
            "p2pinfer.convert: stopped; "
            + ("the same command goes on from here" if is_kept else "nothing was kept")
        )
        return INTERRUPTED
    return 0


def _convert(arguments: argparse.Namespace) -> None:
    from p2pinfer.model.source import convert_model  # after the flags: it loads numpy

    started = time.monotonic()
    kept = arguments.share_only
    layers = range(kept.start, kept.end) if kept not in (None, _NO_LAYERS) else kept
    store = convert_model(arguments.model, arguments.out, say, kept=layers, revision=arguments.revision)
    manifest = store.manifest
    here = [name for name in manifest.files if store.has(name)]
    whole_bytes, here_bytes = manifest.bytes_of(tuple(manifest.files)), manifest.bytes_of(tuple(here))
    say(
        f"{store.folder}: {manifest.name}, {manifest.num_layers} layers, {whole_bytes / 1e6:.0f} MB, "
        f"{time.monotonic() - started:.1f} s\nmodel hash {manifest.hash}"
    )
    if len(here) < len(manifest.files):
        kept_layers = "no layers" if kept == _NO_LAYERS else f"layers {kept}"
        say(
            f"here are the manifest, the ends, the tokenizer and {kept_layers}: {here_bytes / 1e6:.0f} MB; "
            f"{len(manifest.files) - len(here)} of {manifest.num_layers} layers are not here"
        )
    flags = "" if kept in (None, _NO_LAYERS) else f" --layers {kept}"
    say(f"to serve it: python -m p2pinfer.server {shlex.quote(str(store.folder))}{flags}")


def _verify(arguments: argparse.Namespace) -> int:
    from p2pinfer.model.formats.lookup import locate, open_source  # after the flags: it loads numpy
    from p2pinfer.model.layer_store.search import find_manifest
    from p2pinfer.model.verification import verify

    manifest = find_manifest(arguments.verify, arguments.cache_folder)
    say(f"{manifest.name}, model hash {manifest.hash}")
    source = open_source(arguments.source, locate(arguments.source, arguments.revision), say)
    found = verify(manifest, source, say, sample=arguments.sample)
    whole = "all" if found.layers == manifest.num_layers else f"{found.layers} drawn at random"
    if found.different is None:
        say(
            f"equal: {len(found.equal)} files were converted again from {source.origin.words}\n"
            f"compared: configs, tokenizer, ends, and of {manifest.num_layers} layers {whole}"
        )
        return 0
    say(
        f"different: {found.different}; {len(found.equal)} files before it are equal\n"
        f"the manifest says: {manifest.origin.words}\n"
        f"the source is:     {source.origin.words}"
    )
    if manifest.origin.hub_id == source.origin.hub_id and manifest.origin.revision != source.origin.revision:
        say(f"to compare with the manifest's own commit add --revision {manifest.origin.revision}")
    return FAILED


def _problem(arguments: argparse.Namespace) -> str | None:
    """What is wrong with flags that don't belong together."""
    if arguments.verify is None:
        if arguments.model is None or arguments.out is None:
            return "MODEL and --out FOLDER are needed, or --verify STORE and --source MODEL"
        wrong = [flag for flag in ("source", "sample") if getattr(arguments, flag) is not None]
        return f"--{wrong[0]} belongs to --verify" if wrong else None
    if arguments.source is None:
        return "--verify STORE needs --source MODEL: the original to compare with"
    if arguments.model is not None or arguments.out is not None or arguments.share_only is not None:
        return "--verify writes nothing: leave MODEL, --out and --share-only away"
    return None


def _parser() -> Parser:
    parser = program_parser(
        "convert",
        usage="%(prog)s MODEL --out FOLDER [--share-only [START:END]] [--revision COMMIT]\n"
        "       %(prog)s --verify STORE --source MODEL [--sample N] [--revision COMMIT]",
        description="Convert a model into p2pinfer's INT8 layer store. Servers and clients do this by "
        "themselves and keep the result in their cache. Convert by hand to copy the store to other machines, "
        "or to begin a swarm of a model that is larger than your disk. A model of the Hugging Face hub is "
        "read layer by layer and never downloaded as a whole; a conversion that was interrupted goes on.",
        epilog=f"Decoder families: {', '.join(sorted(FAMILIES))}.",
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="?",
        help="a Hugging Face model id, a folder with safetensors, or a .gguf file",
    )
    parser.add_argument("--out", metavar="FOLDER", type=path, help="a new folder for the store")
    parser.add_argument(
        "--share-only",
        metavar="START:END",
        nargs="?",
        type=span,
        const=_NO_LAYERS,
        help="keep only these layers (none, if none are given), besides the manifest of all, the ends and "
        "the tokenizer: the disk needs no room for the others",
    )
    parser.add_argument(
        "--revision",
        metavar="COMMIT",
        type=text,
        help="of a model id: another commit, tag or branch than main",
    )
    parser.add_argument(
        "--verify",
        metavar="STORE",
        type=text,
        help="convert the model of --source again and compare it with this store: a folder, a manifest.json, "
        "or the hash of a store in the cache folder, also NAME@HASH. Status 0: equal, 1: different, 2: they "
        "couldn't be compared",
    )
    parser.add_argument(
        "--source", metavar="MODEL", type=text, help="with --verify: the original, like MODEL"
    )
    parser.add_argument(
        "--sample",
        metavar="N",
        type=whole_number(0),
        help="with --verify: compare only so many layers, drawn at random, and all that isn't a layer",
    )
    parser.add_argument(
        "--cache-folder",
        metavar="FOLDER",
        type=folder,
        default=user_cache_folder(),
        help="with --verify HASH: where stores are (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
