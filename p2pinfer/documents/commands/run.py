"""`python -m p2pinfer.documents run`: answer every document, or go on where a run was stopped."""

from __future__ import annotations

import argparse
import shlex

from p2pinfer.command_line.program import spoken_name
from p2pinfer.command_line.stopping import leaving_on_signals
from p2pinfer.documents.program.config import RunConfig, add_run_flags

HELP = "answer every document; the same command goes on after a stop"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    parser.usage = (  # INPUT goes first: behind --initial-peers it would be one more address
        "%(prog)s INPUT [INPUT ...] --out OUTPUT --model MODEL\n"
        f"{' ' * 7}--initial-peers ADDRESS [ADDRESS ...] [options]"
    )
    add_run_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Run the job. Raises UsageError, and P2PInferError for what keeps it from going on."""
    config = RunConfig.of(args)
    with leaving_on_signals(status=None):  # until the job listens to them itself
        from p2pinfer.command_line.extras import require
        from p2pinfer.command_line.quiet import quiet_libraries

        require("documents")
        quiet_libraries("p2pinfer.documents")
        from p2pinfer.documents.program.program import run_program

        return run_program(config, f"{spoken_name('documents')} {shlex.join(args.words)}")
