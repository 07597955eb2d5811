"""`python -m p2pinfer.documents`: documents by the thousand, answered by a swarm."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from p2pinfer.command_line.stopping import end_silently_on_signals, leaving_on_signals

_DESCRIPTION = """\
Answer documents by the thousand with a model of a swarm: requests in OpenAI's batch form, or a prompt about
each of many text files. Each document is answered exactly once, whatever is killed meanwhile. The same
command goes on where it was stopped.
"""

_EXAMPLES = """\
examples:
  %(prog)s run texts/ --prompt "Summarize in one sentence: {text}" --out summaries.jsonl \\
      --model SmolLM2-135M-Instruct --initial-peers /ip4/203.0.113.7/tcp/31337/p2p/12D3...
  %(prog)s run batch.jsonl --out answers.jsonl --model ... --initial-peers ...
  %(prog)s status
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit statuses: 0 all is answered; 1 some documents failed, or the job can't go on; 2 wrong usage."""
    with leaving_on_signals(status=None):
        from p2pinfer.command_line.program import run

        return run("documents", lambda: _main(list(sys.argv[1:] if argv is None else argv)))


def _main(arguments: list[str]) -> int:
    from p2pinfer.command_line.output import printing

    flags = _parser().parse_args(arguments)
    flags.words = arguments
    with printing():
        status: int = flags.command(flags)
        return status


def _parser() -> argparse.ArgumentParser:
    from p2pinfer.command_line.program import program_parser
    from p2pinfer.documents.commands import cancel, forget, run, status

    parser = program_parser(
        "documents",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    for name, command in (("run", run), ("status", status), ("cancel", cancel), ("forget", forget)):
        description = f"{command.HELP[0].upper()}{command.HELP[1:]}."
        subparser = subparsers.add_parser(name, help=command.HELP, description=description)
        command.add_arguments(subparser)
        subparser.set_defaults(command=command.run)
    return parser


if __name__ == "__main__":
    exit_status = main()
    end_silently_on_signals()
    sys.exit(exit_status)
