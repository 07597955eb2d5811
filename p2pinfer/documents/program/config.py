"""Everything that a run of a job can be told, built once from the command line."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from p2pinfer.command_line.cache_folder import add_cache_folder
from p2pinfer.command_line.flags import number, path, text, whole_number
from p2pinfer.command_line.peers import add_initial_peers
from p2pinfer.documents.inputs.prompts import TextTask
from p2pinfer.documents.inputs.text_files import EVERY_FILE
from p2pinfer.documents.program.choosing import add_store
from p2pinfer.errors import UsageError
from p2pinfer.folders import user_data_folder

MOST_ANSWER_TOKENS = 512
_MOST_LAYER_TOKENS = 10**18
_OF_TEXTS = {
    "map": "--map",
    "reduce": "--reduce",
    "system": "--system",
    "pattern": "--pattern",
    "max_tokens": "--max-tokens",
    "temperature": "--temperature",
    "seed": "--seed",
}
"""Flags that say something about text files, and nothing about requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """One run's settings. Paths of files that are written are absolute."""

    inputs: tuple[str, ...]
    pattern: str
    task: TextTask | None
    """What is asked about text files; None: the input has requests."""
    output: Path
    errors: Path
    model: str
    initial_peers: tuple[str, ...]
    wire_dtype: str
    most_layer_tokens: int | None
    identity: Path
    store: Path
    cache_folder: Path
    again: bool
    ignore_changes: bool
    """Of what the input holds, since the job began."""

    @classmethod
    def of(cls, flags: argparse.Namespace) -> RunConfig:
        """From parsed flags. Raises UsageError for flags that contradict each other."""
        output = _written(flags.out, "--out")
        errors = output.with_name(f"{output.stem}.errors.jsonl") if flags.errors is None else flags.errors
        errors = _written(errors, "--errors")
        if errors == output:
            raise UsageError(f"--out and --errors name the same file, {output}: give each its own")
        return cls(
            inputs=tuple(flags.inputs),
            pattern=flags.pattern or EVERY_FILE,
            task=_task(flags),
            output=output,
            errors=errors,
            model=flags.model,
            initial_peers=flags.initial_peers,
            wire_dtype=flags.wire_dtype,
            most_layer_tokens=flags.max_layer_tokens,
            identity=flags.identity,
            store=flags.store,
            cache_folder=flags.cache_folder,
            again=flags.again,
            ignore_changes=flags.ignore_changes,
        )


def _written(file: Path, flag: str) -> Path:
    """The file's own path, whatever leads to it."""
    found = Path(os.path.realpath(file))
    if found.is_dir():
        raise UsageError(f"{flag} {file} is a folder: name a file in it")
    if found.exists() and not found.is_file():
        raise UsageError(f"{flag} {file} is a device or a pipe: name a file")
    if not found.parent.is_dir():
        raise UsageError(f"{flag} {file}: there is no folder {found.parent}")
    return found


def _task(flags: argparse.Namespace) -> TextTask | None:
    if flags.prompt is None:
        for name, flag in _OF_TEXTS.items():
            if getattr(flags, name) is not None:
                raise UsageError(f"{flag} is for text files: say with --prompt what to do with them")
        if len(flags.inputs) > 1:
            raise UsageError(
                f"{len(flags.inputs)} inputs are given: a job has one file of requests. For text files, say "
                "with --prompt what to do with them"
            )
        return None
    if len(flags.inputs) == 1 and flags.inputs[0].endswith(".jsonl"):
        raise UsageError(f"{flags.inputs[0]} has requests of its own: leave out --prompt")
    if "-" in flags.inputs:
        raise UsageError("standard input is for requests: leave out --prompt, or name files")
    return TextTask(
        prompt=flags.prompt,
        map_prompt=flags.map,
        reduce_prompt=flags.reduce,
        system=flags.system,
        max_tokens=MOST_ANSWER_TOKENS if flags.max_tokens is None else flags.max_tokens,
        temperature=0.0 if flags.temperature is None else flags.temperature,
        seed=flags.seed,
    ).checked()


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `run`."""
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="requests in OpenAI's batch form, a JSON object in each line (- reads standard input); or, with "
        "--prompt, folders, globs and text files",
    )
    parser.add_argument(
        "--out", type=path, required=True, metavar="OUTPUT", help="write the answers here, one in each line"
    )
    parser.add_argument(
        "--errors",
        type=path,
        metavar="FILE",
        help="write what can't be answered here (default: OUTPUT with .errors.jsonl)",
    )
    parser.add_argument(
        "--model",
        required=True,
        metavar="MODEL",
        help="a name in the swarm, or NAME@HASH; a hub id, a folder, or a layer store",
    )
    add_initial_peers(parser, required=True)
    texts = parser.add_argument_group("text files")
    texts.add_argument(
        "--prompt",
        type=text,
        metavar="PROMPT",
        help='ask this about each file: "Summarize: {text}"; {name} is the file\'s name',
    )
    texts.add_argument(
        "--map",
        type=text,
        metavar="PROMPT",
        help="cut texts that are too long for the model into pieces, and ask this about each",
    )
    texts.add_argument(
        "--reduce",
        type=text,
        metavar="PROMPT",
        help="ask this about the answers to the pieces (default: the prompt)",
    )
    texts.add_argument("--system", type=text, metavar="TEXT", help="begin each conversation with this")
    texts.add_argument(
        "--pattern", metavar="GLOB", help="of files in folders, take those with such names: '*.txt'"
    )
    texts.add_argument(
        "--max-tokens",
        type=whole_number(1, 10_000_000),
        metavar="N",
        help=f"the most tokens of an answer (default: {MOST_ANSWER_TOKENS})",
    )
    texts.add_argument(
        "--temperature",
        type=number("degrees", 0, 2),
        metavar="T",
        help="0 always takes the most likely token (default: 0)",
    )
    texts.add_argument("--seed", type=_seed, metavar="N", help="of what is drawn at other temperatures")
    job = parser.add_argument_group("the job")
    job.add_argument(
        "--max-layer-tokens",
        type=whole_number(1, _MOST_LAYER_TOKENS),
        metavar="N",
        help="end between two documents when so much has been computed: tokens times layers",
    )
    job.add_argument(
        "--again", action="store_true", help="forget what was answered, overwrite OUTPUT, and begin anew"
    )
    job.add_argument(
        "--ignore-changes",
        action="store_true",
        help="go on though INPUT has changed: with the documents that it had when the job began",
    )
    job.add_argument(
        "--identity",
        type=path,
        default=user_data_folder() / "documents" / "identity.key",
        metavar="FILE",
        help="the key that signs receipts for what servers compute (default: %(default)s)",
    )
    add_store(job)
    job.add_argument(
        "--wire-dtype",
        choices=("float32", "int8"),
        default="float32",
        help="int8 sends a quarter of the bytes to servers; texts may differ a little (default: float32)",
    )
    add_cache_folder(job)


def _seed(written: str) -> int:
    try:
        seed = int(written) if len(written) <= 20 else 2**64
    except ValueError:
        seed = 2**64
    if not -(2**63) <= seed < 2**63:
        raise argparse.ArgumentTypeError(f"a whole number is expected, not {written!r}")
    return seed
