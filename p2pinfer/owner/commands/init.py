"""`python -m p2pinfer.owner init`: write a policy file that explains every setting."""

from __future__ import annotations

import argparse

from p2pinfer.errors import UsageError
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.owner.policy.templates import DESCRIPTIONS, MachineKind, policy_text
from p2pinfer.private_files import write_private

HELP = "write a first policy file, with every setting explained"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command."""
    parser.add_argument(
        "--for",
        dest="kind",
        choices=[kind.value for kind in MachineKind],
        help="the kind of machine (default: laptop if it has a battery, else home)",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing policy file")


def run(args: argparse.Namespace) -> int:
    """Write the file and say what it allows. Raises UsageError if it exists or can't be written."""
    kind = MachineKind(args.kind or (MachineKind.LAPTOP if has_battery() else MachineKind.HOME))
    path = OwnerFiles(args.data_folder).policy
    try:
        written = write_private(path, policy_text(kind).encode(), replace=args.force)
    except OSError as error:
        raise UsageError(
            f"{path} can't be written ({error.strerror}): choose another --data-folder"
        ) from error
    if not written:
        raise UsageError(f"{path} exists already: change it with an editor, or replace it with --force")
    print(f"wrote {path}")
    print(f"for {DESCRIPTIONS[kind]}")
    print("Read it, change what you like, then see what it means: python -m p2pinfer.owner check")
    return 0


def has_battery() -> bool:
    """True if this machine can run on a battery."""
    import psutil

    try:
        return psutil.sensors_battery() is not None
    except (AttributeError, OSError):  # psutil can tell on some systems only; a container may lack the files
        return False
