"""Everything that the operator of a health page can set, built once from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from p2pinfer.command_line.cache_folder import add_cache_folder
from p2pinfer.command_line.flags import path, port, seconds, whole_number
from p2pinfer.command_line.peers import add_initial_peers
from p2pinfer.command_line.program import Parser, program_parser, settings_of
from p2pinfer.folders import user_data_folder
from p2pinfer.http.connections.proxies import Network, add_proxies

_DESCRIPTION = """\
Show how a swarm is, on a public web page: which models it serves, which layers few servers hold, and how
fast it answers. With --once the same comes as a report on the terminal.

The page joins the swarm as a client; servers neither know of it nor need it. With --probe it generates a
few tokens from time to time and shows the result. Ctrl-C ends it.
"""

_EXAMPLES = """\
examples:
  %(prog)s --initial-peers /ip4/203.0.113.7/tcp/31337/p2p/12D3...
  %(prog)s --initial-peers ... --host 0.0.0.0 --probe HuggingFaceTB/SmolLM2-135M-Instruct
  %(prog)s --initial-peers ... --once
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthConfig:
    """One page's settings."""

    initial_peers: tuple[str, ...]
    shown_addresses: tuple[str, ...]  # in the commands to join by
    shown_model: str
    host: str
    port: int
    once: bool
    as_json: bool
    probe_models: tuple[str, ...]
    probe_seconds: float
    probe_tokens: int
    data_folder: Path
    cache_folder: Path
    proxies: tuple[Network, ...] = ()
    refresh_seconds: float = 4.0
    late_seconds: float = 18.0
    """The page asks a server whether it is there after this time without an announcement. Servers announce
    themselves every 15 s."""

    @classmethod
    def from_args(cls, argv: Sequence[str] | None = None) -> HealthConfig:
        """Read the command line. --help, --version and a wrong flag end the process, as argparse does."""
        parser = _parser()
        flags = parser.parse_args(argv)
        if flags.as_json and not flags.once:
            parser.error("--json goes with --once; a running page answers /api/v1/state")
        flags.shown_addresses = flags.shown_addresses or flags.initial_peers
        return cls(**settings_of(flags))


def _parser() -> Parser:
    parser = program_parser(
        "health",
        usage="%(prog)s --initial-peers ADDRESS [ADDRESS ...] [options]",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    add_initial_peers(parser, required=True)
    parser.add_argument("--once", action="store_true", help="print a report and exit")
    parser.add_argument(
        "--json", dest="as_json", action="store_true", help="with --once: print the state as JSON"
    )
    page = parser.add_argument_group("page")
    page.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: %(default)s, this machine only; 0.0.0.0: every network)",
    )
    page.add_argument(
        "--port",
        type=port,
        default=8080,
        metavar="N",
        help="port to listen on (default: %(default)s; 0: any free port)",
    )
    add_proxies(page)
    add_initial_peers(
        page,
        flag="--show-peers",
        dest="shown_addresses",
        purpose="addresses that the page tells visitors to join by (default: those of --initial-peers)",
    )
    page.add_argument(
        "--show-model",
        dest="shown_model",
        default="",
        metavar="MODEL",
        help="the model in the commands that the page shows to visitors, as they should write it "
        "(default: a served model that works, as NAME@HASH)",
    )
    page.add_argument(
        "--data-folder",
        type=path,
        default=user_data_folder() / "health",
        metavar="FOLDER",
        help="where history and leaderboard are kept, for each swarm in a folder of its own "
        "(default: %(default)s)",
    )
    probe = parser.add_argument_group("probe")
    probe.add_argument(
        "--probe",
        dest="probe_models",
        nargs="+",
        default=[],
        metavar="MODEL",
        help="generate some tokens with these models from time to time: names that the swarm serves, or "
        "NAME@HASH; ids, folders, or layer stores",
    )
    probe.add_argument(
        "--probe-seconds",
        type=seconds(5, 86_400),
        default=300.0,
        metavar="S",
        help="time between two probes (default: 300)",
    )
    probe.add_argument(
        "--probe-tokens",
        type=whole_number(1, 256),
        default=8,
        metavar="N",
        help="tokens that a probe generates (default: 8)",
    )
    add_cache_folder(probe)
    return parser
