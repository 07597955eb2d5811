"""`python -m p2pinfer.owner accept`: read what running a server means, and agree to it."""

from __future__ import annotations

import argparse
import sys

from p2pinfer.owner.consent import ask, consented
from p2pinfer.owner.files import OwnerFiles

HELP = "read what running a server means, and agree to it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    parser.add_argument("--yes", action="store_true", help="agree without a question; for scripts")


def run(args: argparse.Namespace) -> int:
    """Ask, unless the owner has agreed before. Returns 1 if the answer is no."""
    if consented(OwnerFiles(args.data_folder).consent, accept=args.yes, ask=ask, say=print, flag="--yes"):
        print("you have agreed: servers may run on this machine as your policy says")
        return 0
    print("not agreed: no server will run on this machine", file=sys.stderr)
    return 1
