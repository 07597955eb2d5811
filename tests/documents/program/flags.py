"""Command lines of `documents run`, parsed as the program does it."""

from __future__ import annotations

from pathlib import Path

from p2pinfer.documents.__main__ import _parser
from p2pinfer.documents.program.config import RunConfig

PEER = "/ip4/127.0.0.1/tcp/9/p2p/12D3KooWx"


def config(folder: Path, *words: object, out: object = "out.jsonl") -> RunConfig:
    """A run that keeps everything in `folder`."""
    files = ("--out", folder / str(out), "--store", folder / "jobs.sqlite", "--identity", folder / "key")
    swarm = ("--model", "tiny", "--initial-peers", PEER)
    return RunConfig.of(_parser().parse_args(["run", *map(str, (*words, *files, *swarm))]))
