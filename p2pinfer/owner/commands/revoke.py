"""`python -m p2pinfer.owner revoke`: take the consent back."""

from __future__ import annotations

import argparse

from p2pinfer.owner.consent import revoke_consent
from p2pinfer.owner.files import OwnerFiles

HELP = "take your consent back: running servers stop, and none starts again"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no flags: there is nothing to choose."""


def run(args: argparse.Namespace) -> int:
    """Delete the consent. Running servers look for it every few seconds."""
    if revoke_consent(OwnerFiles(args.data_folder).consent):
        print("consent taken back: servers stop within seconds, and none starts until you agree again")
    else:
        print("there was no consent to take back")
    print("identity, policy and ledger stay where they are:", args.data_folder)
    return 0
