"""Everything that the server's owner can set, built once from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from p2pinfer.command_line.cache_folder import add_cache_folder
from p2pinfer.command_line.flags import (
    folder,
    gigabytes,
    host_port,
    listen_address,
    path,
    seconds,
    shown_text,
    span,
    whole_number,
)
from p2pinfer.command_line.peers import add_initial_peers
from p2pinfer.command_line.program import Parser, program_parser, settings_of
from p2pinfer.folders import user_data_folder
from p2pinfer.swarm.reach.interfaces import has_ipv6
from p2pinfer.types import Span

LEAST_RECEIPT_TOKENS = 256
"""The most rows that a session may have: one step may bring a token of each row."""

LEAST_CACHE_TOKENS = 128
"""A cache that can't hold a short question and its answer serves nobody."""

_MOST_RECEIPT_TOKENS = 10**9
_MOST_CACHE_TOKENS = 2**40  # as the records of servers
_MOST_THREADS = 256  # as the native engine
_MOST_NAME_CHARACTERS, _MOST_REGION_CHARACTERS = 64, 32  # as the records of servers

_DESCRIPTION = """\
Serve some layers of a language model to a swarm, in INT8.

Without --initial-peers a new swarm begins; the server prints the addresses that others join it with.
Without MODEL the server takes the model that the swarm needs it for most, without --layers the layers that
the swarm lacks most. Only the files of these layers are fetched: from other servers, or the model's source.

Ctrl-C leaves the swarm: the server takes no new sessions, and clients move their sessions to other servers
within --drain-seconds. A second Ctrl-C leaves at once.
"""

_EXAMPLES = """\
examples:
  %(prog)s HuggingFaceTB/SmolLM2-135M-Instruct
  %(prog)s --initial-peers /ip4/203.0.113.7/tcp/31337/p2p/12D3...
  %(prog)s ./store --initial-peers /ip4/203.0.113.7/tcp/31337/p2p/12D3... --num-layers 10
  %(prog)s ./store --initial-peers ... --listen none      (behind a NAT: tunnel only)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """One server's settings."""

    model: str | None  # None: the one that the swarm needs most
    initial_peers: tuple[str, ...]
    layers: Span | None
    num_layers: int | None
    listen: str | None  # HOST:PORT; None: reachable by tunnel only
    dht_listen: tuple[str, ...]
    announce: tuple[str, ...]
    identity: Path | None
    public_name: str
    region: str
    max_cache_tokens: int | None
    device: str
    engine: str
    threads: int | None
    cache_folder: Path
    disk_gb: float | None
    data_folder: Path
    idle_seconds: float
    drain_seconds: float | None  # None: as the policy says
    receipt_tokens: int
    policy: Path | None
    accept: bool
    verbose: bool
    heartbeat_seconds: float = 15.0
    record_seconds: float = 60.0

    @property
    def announced_maddrs(self) -> tuple[str, ...]:
        """Where others find libp2p: the hosts of `announce` with the fixed ports of `dht_listen`."""
        return tuple(
            _maddr(address.rpartition(":")[0], port)
            for address in self.announce
            for maddr in self.dht_listen
            if (port := maddr.rpartition("/tcp/")[2]).isdecimal() and port != "0"
        )

    @classmethod
    def from_args(cls, argv: Sequence[str] | None = None) -> ServerConfig:
        """Read the command line. --help, --version and a wrong flag end the process, as argparse does."""
        parser = _parser()
        flags = parser.parse_args(argv)
        if flags.model is None and not flags.initial_peers:
            parser.error("give a MODEL to begin a swarm with, or --initial-peers to join one")
        if flags.layers is not None and flags.num_layers is not None:
            parser.error("give --layers or --num-layers, not both")
        if flags.dht_listen is None:
            host = flags.listen.rpartition(":")[0] if flags.listen else _everywhere()
            flags.dht_listen = ["/ip4/0.0.0.0/tcp/0", "/ip6/::/tcp/0"] if host == "[::]" else [_maddr(host)]
        return cls(**settings_of(flags))


def _everywhere() -> str:
    """The host that stands for every network of this machine: IPv4's, and IPv6's if it has one."""
    return "[::]" if has_ipv6() else "0.0.0.0"


def _parser() -> Parser:
    parser = program_parser(
        "server",
        usage="%(prog)s [MODEL] [--initial-peers ADDRESS ...] [options]",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="a layer store, a folder or a .gguf file of this machine; a NAME that the swarm serves, or "
        "NAME@HASH where it serves two of that name; or a Hugging Face id",
    )
    swarm = parser.add_argument_group("swarm")
    add_initial_peers(swarm)
    swarm.add_argument(
        "--public-name",
        type=shown_text(_MOST_NAME_CHARACTERS),
        default="",
        metavar="NAME",
        help="a name that others see beside the peer id",
    )
    swarm.add_argument(
        "--region",
        type=shown_text(_MOST_REGION_CHARACTERS),
        default="",
        metavar="TEXT",
        help="country or region that public pages may show for this server (default: none)",
    )
    swarm.add_argument(
        "--identity",
        type=path,
        metavar="FILE",
        help="key file that makes this server's peer id (default: one in the data folder)",
    )
    share = parser.add_argument_group("what to serve")
    share.add_argument(
        "--layers", type=span, metavar="START:END", help="serve exactly these layers; 10:20 is 10 to 19"
    )
    share.add_argument(
        "--num-layers",
        type=whole_number(1),
        metavar="N",
        help="serve N layers (default: about what fits into half of the free memory, as the swarm needs)",
    )
    share.add_argument(
        "--max-cache-tokens",
        type=whole_number(LEAST_CACHE_TOKENS, _MOST_CACHE_TOKENS),
        metavar="N",
        help="tokens of attention cache, all sessions together "
        f"(default: a quarter of the free memory, at most 65536; at least {LEAST_CACHE_TOKENS})",
    )
    share.add_argument(
        "--idle-seconds",
        type=seconds(0.1, 86_400),
        default=120.0,
        metavar="S",
        help="close a session after this time without a step (default: 120)",
    )
    share.add_argument(
        "--drain-seconds",
        type=seconds(0, 3_600),
        metavar="S",
        help="when asked to leave, go on serving for at most this time, while clients move their sessions to "
        "other servers (default: as the policy says, 60 without one; 0: leave at once)",
    )
    share.add_argument(
        "--receipt-tokens",
        type=whole_number(LEAST_RECEIPT_TOKENS, _MOST_RECEIPT_TOKENS),
        default=2048,
        metavar="N",
        help="let a session run at most N tokens ahead of what its client has signed for "
        f"(default: %(default)s; at least {LEAST_RECEIPT_TOKENS})",
    )
    owner = parser.add_argument_group("owner")
    owner.add_argument(
        "--accept",
        action="store_true",
        help="agree to the terms that the first start prints, without being asked; for scripts",
    )
    owner.add_argument(
        "--policy",
        type=path,
        metavar="FILE",
        help="when this machine may work (default: policy.toml in the data folder, which "
        "`python -m p2pinfer.owner init` writes; without that file: always)",
    )
    owner.add_argument(
        "--data-folder",
        type=folder,
        default=user_data_folder(),
        metavar="FOLDER",
        help="holds identity, policy, consent and ledger (default: %(default)s)",
    )
    network = parser.add_argument_group("network")
    network.add_argument(
        "--listen",
        type=listen_address,
        default=f"{_everywhere()}:0",
        metavar="HOST:PORT|none",
        help="where activations come in: 0.0.0.0 stands for every IPv4 network of this machine, [::] for "
        "those of IPv6 as well (default: all, any free port); none: only through the libp2p tunnel, for a "
        "machine that nobody can dial",
    )
    network.add_argument(
        "--announce",
        nargs="+",
        type=host_port,
        default=[],
        metavar="HOST:PORT",
        help="addresses that others should dial instead, such as those of a router that forwards a port; "
        "give --dht-listen a fixed port too",
    )
    network.add_argument(
        "--dht-listen",
        nargs="+",
        metavar="ADDRESS",
        help="where libp2p listens, which finds the other peers, as a multiaddress: /ip4/0.0.0.0/tcp/31331 "
        "is port 31331 in every IPv4 network of this machine (default: the host of --listen, any free port)",
    )
    machine = parser.add_argument_group("machine")
    machine.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="auto is the CPU: a GPU is used only if you ask for it",
    )
    machine.add_argument(
        "--threads",
        type=whole_number(1, _MOST_THREADS),
        metavar="N",
        help=f"compute threads, at most {_MOST_THREADS} (default: chosen for this machine)",
    )
    machine.add_argument(
        "--engine",
        choices=("auto", "native", "reference"),
        default="auto",
        help="auto is the native engine where it was built, else the slower reference engine",
    )
    add_cache_folder(machine, kind=folder)
    machine.add_argument(
        "--disk-gb",
        type=gigabytes,
        metavar="N",
        help="keep at most N GB of models in the cache folder, 0.1 or more: what was not used for longest is "
        "removed (default: nothing is removed while there is room)",
    )
    machine.add_argument("--verbose", action="store_true", help="log more, also what the libraries say")
    return parser


def _maddr(host: str, port: str = "0") -> str:
    host = host.strip("[]")
    kind = "ip6" if ":" in host else "ip4" if host.replace(".", "").isdecimal() else "dns"
    return f"/{kind}/{host}/tcp/{port}"
