"""What whoever runs the page can set, built once from the command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from p2pinfer import __version__
from p2pinfer.folders import user_cache_folder, user_data_folder

_DESCRIPTION = """\
A public page about a swarm: which models it serves, where it is thin, what it can do.

It joins as a client: servers neither know of it nor need it. With --probe it generates a few tokens itself
now and then, and shows what came out. Ctrl-C ends it.
"""

_EXAMPLES = """\
examples:
  python -m p2pinfer.health --initial-peers /ip4/203.0.113.7/tcp/31337/p2p/12D3...
  python -m p2pinfer.health --initial-peers ... --host 0.0.0.0 --probe HuggingFaceTB/SmolLM2-135M-Instruct
  python -m p2pinfer.health --initial-peers ... --once
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthConfig:
    """One page's settings."""

    initial_peers: tuple[str, ...]
    shown_addresses: tuple[str, ...]  # in the commands to join by
    host: str
    port: int
    once: bool
    as_json: bool
    probe_models: tuple[str, ...]
    probe_seconds: float
    probe_tokens: int
    data_folder: Path
    cache_folder: Path
    refresh_seconds: float = 4.0
    late_seconds: float = 18.0
    """Who hasn't announced itself for so long is asked whether it is there: servers do every 15 s."""

    @classmethod
    def from_args(cls, argv: Sequence[str] | None = None) -> HealthConfig:
        """Parse flags; prints help or the mistake and exits like every argparse program."""
        parser = _parser()
        args = parser.parse_args(argv)
        if args.json and not args.once:
            parser.error("--json goes with --once; a page that runs answers /api/v1/state")
        return cls(
            initial_peers=tuple(args.initial_peers),
            shown_addresses=tuple(args.show_peers or args.initial_peers),
            host=args.host,
            port=args.port,
            once=args.once,
            as_json=args.json,
            probe_models=tuple(args.probe),
            probe_seconds=args.probe_seconds,
            probe_tokens=args.probe_tokens,
            data_folder=args.data_folder,
            cache_folder=args.cache_folder,
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m p2pinfer.health",
        usage="%(prog)s --initial-peers MADDR [MADDR ...] [options]",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"p2pinfer {__version__}")
    parser.add_argument(
        "--initial-peers",
        nargs="+",
        required=True,
        metavar="MADDR",
        help="join the swarm of these peers: copy what one of them printed",
    )
    parser.add_argument("--once", action="store_true", help="print a report and end")
    parser.add_argument("--json", action="store_true", help="with --once: print the state as JSON")
    page = parser.add_argument_group("page")
    page.add_argument(
        "--host", default="127.0.0.1", help="where to listen (default: %(default)s; 0.0.0.0: everywhere)"
    )
    page.add_argument("--port", type=_port, default=8080, metavar="N", help="(default: %(default)s; 0: any)")
    page.add_argument(
        "--show-peers",
        nargs="+",
        metavar="MADDR",
        help="addresses that the page tells visitors to join by (default: those of --initial-peers)",
    )
    page.add_argument(
        "--data-folder",
        type=Path,
        default=user_data_folder() / "health",
        metavar="FOLDER",
        help="where history and leaderboard are kept (default: %(default)s)",
    )
    probe = parser.add_argument_group("probe")
    probe.add_argument(
        "--probe",
        nargs="+",
        default=[],
        metavar="MODEL",
        help="generate some tokens with these models now and then: ids, folders, or layer stores",
    )
    probe.add_argument(
        "--probe-seconds", type=_seconds, default=300.0, metavar="S", help="between two probes (default: 300)"
    )
    probe.add_argument(
        "--probe-tokens", type=_tokens, default=8, metavar="N", help="to generate each time (default: 8)"
    )
    probe.add_argument(
        "--cache-folder",
        type=Path,
        default=user_cache_folder(),
        metavar="FOLDER",
        help="where converted models are kept (default: %(default)s)",
    )
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"a port from 0 to 65535 is expected, not {text!r}")
    return int(text)


def _tokens(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 256:
        raise argparse.ArgumentTypeError(f"a whole number from 1 to 256 is expected, not {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 5 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"seconds from 5 to 86400 are expected, not {text!r}")
    return seconds
