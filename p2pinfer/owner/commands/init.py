"""`python -m p2pinfer.owner init`: write a policy file that explains every setting."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping

from p2pinfer.errors import UsageError
from p2pinfer.owner.command_text import owner_command
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.owner.policy.policy_file import parse_policy
from p2pinfer.owner.policy.templates import DESCRIPTIONS, MachineKind, policy_text
from p2pinfer.owner.signals.config import Host
from p2pinfer.owner.signals.readings import Signal
from p2pinfer.owner.signals.trouble import NO_INSTRUMENT
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
    path = OwnerFiles(args.data_folder).policy
    if path.exists() and not args.force:
        raise _exists(args)
    kind = MachineKind(args.kind or (MachineKind.LAPTOP if _has_battery() else MachineKind.HOME))
    unknown = what_this_machine_cannot_tell(kind)
    try:
        written = write_private(path, policy_text(kind, unknown).encode(), replace=args.force)
    except OSError as error:
        raise UsageError(
            f"{path} can't be written ({error.strerror}): choose another --data-folder"
        ) from error
    if not written:
        raise _exists(args)
    print(f"wrote {path}")
    print(f"for {DESCRIPTIONS[kind]}")
    if unknown:
        print("But this machine can't tell everything, so these are not in use:")
        for signal, why in unknown.items():
            print(f"  {signal:<16} {why}")
    check = owner_command("check", args.data_folder)
    print(f"Read it, change what you like, then see what it means: {check}")
    return 0


def what_this_machine_cannot_tell(kind: MachineKind) -> Mapping[Signal, str]:
    """The signals that a policy for this kind of machine takes from the machine, which lacks what could tell.

    The values are the reasons. What the machine only doesn't know at the moment isn't among them: a laptop
    that is offline now will know its network later.
    """
    from p2pinfer.owner.signals.sources.asking import ask_once

    config = parse_policy(policy_text(kind), "policy.toml").signals
    if not any(isinstance(source, Host) for source in config.sources.values()):
        return {}
    troubles = asyncio.run(ask_once(config)).troubles
    return {signal: trouble.words for signal, trouble in troubles.items() if trouble.kind == NO_INSTRUMENT}


def _exists(args: argparse.Namespace) -> UsageError:
    path = OwnerFiles(args.data_folder).policy
    return UsageError(f"{path} exists already: change it with an editor, or replace it with --force")


def _has_battery() -> bool:
    from p2pinfer.owner.signals.sources.host import has_battery

    return has_battery()
