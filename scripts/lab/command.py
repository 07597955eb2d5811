"""The command line of scripts/wan_lab."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from p2pinfer.errors import UsageError
from scripts.lab.check import measure, table_head, table_row
from scripts.lab.errors import LabError, LabUnavailableError
from scripts.lab.homes.kinds import RouterKind
from scripts.lab.links import PROFILES
from scripts.lab.run import run
from scripts.lab.words import HELP, parse_hosts, parse_profile

UNAVAILABLE_STATUS = 77
"""The exit status by which test programs say that they were skipped."""

DESCRIPTION = """A network on one machine: every host is a network namespace, and links with one-way delay,
jitter, rates and loss join the hosts. Needs Linux, root and a C++ compiler; ends with status 77 where it
can't run. docs/wan-lab.md says exactly what a link does."""

RUN_DESCRIPTION = f"""Run commands, each on a host of its own, until all have ended. Their output comes with
the host's name before it. A command finds its address in $LAB_ADDRESS and those of the others in
$LAB_ADDRESS_NAME (upper case, with _ for what is no letter or digit), or written as {{NAME}}; behind
a router, that is the host's private address. Meanwhile, these lines on standard input steer the lab:

{HELP}

Ctrl-C ends everything, too. At the end nothing is left: no process, no device, no namespace."""

RUN_EXAMPLE = """example:
  scripts/wan_lab run --profile home-cable \\
      --host server='python3 -m http.server --bind {server}' \\
      --host car:satellite='sleep 1; curl -s http://{server}:8000/ -o /dev/null -w "%{time_total} s\\n"'"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    flags = _parser().parse_args(arguments)
    try:
        status: int = flags.act(flags)
    except LabUnavailableError as error:
        print(f"wan_lab: {error}", file=sys.stderr)
        return UNAVAILABLE_STATUS
    except (UsageError, LabError) as error:
        print(f"wan_lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    profiles = "\n".join(f"  {name:12} {link.describe()}" for name, link in PROFILES.items())
    listed = f"profiles (one-way delay, up/down rate; between two hosts of the same profile):\n{profiles}"
    kinds = "kinds of router (docs/wan-lab.md): " + ", ".join(kind.value for kind in RouterKind)
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="scripts/wan_lab", description=DESCRIPTION, epilog=listed, formatter_class=raw
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    check = commands.add_parser(
        "check",
        help="measure every profile and compare it with what it should be",
        description="Measure every profile, 20 to 40 s each. Ends with status 1 if one is off.",
        epilog=listed,
        formatter_class=raw,
    )
    check.add_argument("--profile", action="append", metavar="P", help="only this one; may be repeated")
    check.set_defaults(act=_check)

    running = commands.add_parser(
        "run",
        help="run commands on hosts",
        description=RUN_DESCRIPTION,
        epilog=f"{RUN_EXAMPLE}\n\n{listed}\n\n{kinds}",
        formatter_class=raw,
    )
    running.add_argument(
        "--host",
        action="append",
        required=True,
        metavar="NAME[:PROFILE][@KIND]=COMMAND",
        help="a host, behind a router of this kind if one is named, and the shell command that runs there; "
        "may be repeated",
    )
    running.add_argument("--profile", default="lan", metavar="P", help="of hosts that name none (lan)")
    running.set_defaults(act=_run)

    for command in (check, running):
        command.add_argument(
            "--seed", type=int, default=0, metavar="N", help="another draw of losses and jitter (0)"
        )
    return parser


def _check(flags: argparse.Namespace) -> int:
    profiles = {name: parse_profile(name) for name in flags.profile or PROFILES}
    off = 0
    for number, (name, link) in enumerate(profiles.items()):
        for finding in measure(link, seed=flags.seed):
            if number == 0 and finding.what == "round trip":  # the lab can run here
                print(table_head(profiles))
            print(table_row(name, finding), flush=True)
            off += not finding.met
    if off:
        print(f"wan_lab: {off} of these are off: is the machine busy with something else?", file=sys.stderr)
    return 1 if off else 0


def _run(flags: argparse.Namespace) -> int:
    parse_profile(flags.profile)
    return run(parse_hosts(flags.host, flags.profile), seed=flags.seed)
