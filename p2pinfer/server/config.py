"""Everything that the server's owner can set, built once from the command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from p2pinfer import __version__
from p2pinfer.folders import user_cache_folder, user_data_folder
from p2pinfer.types import Span

LEAST_RECEIPT_TOKENS = 256
"""As many as a session has rows at most: one step may bring a token of each."""

_DESCRIPTION = """\
Serve some layers of a language model to the swarm, in INT8.

Without --initial-peers a new swarm begins, and the line that others join with is printed.
Without --layers the server takes the layers that the swarm lacks most. Ctrl-C leaves: no new session is
taken, and clients move theirs to other servers, for which they have --drain-seconds; a second Ctrl-C
leaves at once.
"""

_EXAMPLES = """\
examples:
  python -m p2pinfer.server HuggingFaceTB/SmolLM2-135M-Instruct
  python -m p2pinfer.server ./store --initial-peers /ip4/203.0.113.7/tcp/31337/p2p/12D3... --num-layers 10
  python -m p2pinfer.server ./store --initial-peers ... --listen none      (behind a NAT: tunnel only)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """One server's settings."""

    model: str
    initial_peers: tuple[str, ...]
    layers: Span | None
    num_layers: int | None
    listen: str | None  # HOST:PORT, or None: reachable by tunnel only
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
        """Where others find the swarm's libp2p if `announce` says so: the same hosts, its own fixed ports."""
        return tuple(
            _maddr(address.rpartition(":")[0], port)
            for address in self.announce
            for maddr in self.dht_listen
            if (port := maddr.rpartition("/tcp/")[2]).isdecimal() and port != "0"
        )

    @classmethod
    def from_args(cls, argv: Sequence[str] | None = None) -> ServerConfig:
        """Parse flags; prints help or the mistake and exits like every argparse program."""
        parser = _parser()
        args = parser.parse_args(argv)
        if args.layers is not None and args.num_layers is not None:
            parser.error("give --layers or --num-layers, not both")
        listen = None if args.listen == "none" else _host_port(parser, "--listen", args.listen)
        host = listen.rpartition(":")[0] if listen else "0.0.0.0"
        return cls(
            model=args.model,
            initial_peers=tuple(args.initial_peers),
            layers=args.layers,
            num_layers=args.num_layers,
            listen=listen,
            dht_listen=tuple(args.dht_listen or [_maddr(host)]),
            announce=tuple(_host_port(parser, "--announce", address) for address in args.announce),
            identity=args.identity,
            public_name=args.public_name,
            region=args.region,
            max_cache_tokens=args.max_cache_tokens,
            device=args.device,
            engine=args.engine,
            threads=args.threads,
            cache_folder=args.cache_folder,
            data_folder=args.data_folder,
            idle_seconds=args.idle_seconds,
            drain_seconds=args.drain_seconds,
            receipt_tokens=args.receipt_tokens,
            policy=args.policy,
            accept=args.accept,
            verbose=args.verbose,
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m p2pinfer.server",
        usage="%(prog)s MODEL [--initial-peers MADDR ...] [options]",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model", metavar="MODEL", help="a Hugging Face id or folder, a .gguf file, or a layer store"
    )
    parser.add_argument("--version", action="version", version=f"p2pinfer {__version__}")
    swarm = parser.add_argument_group("swarm")
    swarm.add_argument(
        "--initial-peers", nargs="+", default=[], metavar="MADDR", help="peers to join through"
    )
    swarm.add_argument(
        "--public-name", default="", metavar="NAME", help="a name that others see beside the peer id"
    )
    swarm.add_argument(
        "--region",
        default="",
        metavar="TEXT",
        help="country or region that public pages may show for this server (default: none)",
    )
    swarm.add_argument(
        "--identity",
        type=Path,
        metavar="FILE",
        help="key file that makes this server's peer id (default: kept for you)",
    )
    share = parser.add_argument_group("what to serve")
    share.add_argument(
        "--layers", type=_span, metavar="START:END", help="serve exactly these layers, like 10:20"
    )
    share.add_argument(
        "--num-layers",
        type=_positive,
        metavar="N",
        help="serve N layers (default: what fits into half of the free memory)",
    )
    share.add_argument(
        "--max-cache-tokens",
        type=_positive,
        metavar="N",
        help="tokens of attention cache, all sessions together "
        "(default: a quarter of the free memory, at most 65536)",
    )
    share.add_argument(
        "--idle-seconds", type=_seconds, default=120.0, metavar="S", help="close sessions idle for so long"
    )
    share.add_argument(
        "--drain-seconds",
        type=_drain_seconds,
        metavar="S",
        help="when asked to leave, serve on for so long at most, while clients move their sessions to other "
        "servers (default: what the policy says, 60 without one; 0: leave at once)",
    )
    share.add_argument(
        "--receipt-tokens",
        type=_receipt_tokens,
        default=2048,
        metavar="N",
        help="do at most so many tokens of work in a session that its client hasn't signed for "
        f"(default: %(default)s; at least {LEAST_RECEIPT_TOKENS})",
    )
    owner = parser.add_argument_group("owner")
    owner.add_argument(
        "--accept",
        action="store_true",
        help="agree to what the first start explains, without being asked; for scripts",
    )
    owner.add_argument(
        "--policy",
        type=Path,
        metavar="FILE",
        help="when this machine may work (default: policy.toml in the data folder, which "
        "`python -m p2pinfer.owner init` writes; without one: always)",
    )
    owner.add_argument(
        "--data-folder",
        type=Path,
        default=user_data_folder(),
        metavar="FOLDER",
        help="where identity, policy, consent and ledger are (default: %(default)s)",
    )
    network = parser.add_argument_group("network")
    network.add_argument(
        "--listen",
        default="0.0.0.0:0",
        metavar="HOST:PORT|none",
        help="where activations come in (default: any free port); none: only through the libp2p tunnel",
    )
    network.add_argument(
        "--announce",
        nargs="+",
        default=[],
        metavar="HOST:PORT",
        help="addresses that others should dial instead, "
        "as behind a router that forwards a port; give --dht-listen a fixed port too",
    )
    network.add_argument(
        "--dht-listen",
        nargs="+",
        metavar="MADDR",
        help="where the swarm's libp2p listens (default: the same host)",
    )
    machine = parser.add_argument_group("machine")
    machine.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="auto: the CPU; a GPU is used only when asked for",
    )
    machine.add_argument(
        "--threads", type=_positive, metavar="N", help="compute threads (default: chosen for this machine)"
    )
    machine.add_argument(
        "--engine",
        choices=("auto", "native", "reference"),
        default="auto",
        help="auto: native where it was built",
    )
    machine.add_argument(
        "--cache-folder",
        type=Path,
        default=user_cache_folder(),
        metavar="FOLDER",
        help="where converted models are kept (default: %(default)s)",
    )
    machine.add_argument("--verbose", action="store_true", help="log the libraries too")
    return parser


def _span(text: str) -> Span:
    try:
        return Span.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number of at least 1 is expected, not {text!r}")
    return int(text)


def _receipt_tokens(text: str) -> int:
    if not text.isdecimal() or not LEAST_RECEIPT_TOKENS <= int(text) <= 10**9:
        raise argparse.ArgumentTypeError(
            f"a whole number from {LEAST_RECEIPT_TOKENS}, which one step may have, is expected, not {text!r}"
        )
    return int(text)


def _seconds(text: str) -> float:
    return _number_of_seconds(text, 0.1, 86_400)


def _drain_seconds(text: str) -> float:
    return _number_of_seconds(text, 0, 3_600)


def _number_of_seconds(text: str, least: float, most: float) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not least <= seconds <= most:
        raise argparse.ArgumentTypeError(f"seconds from {least:g} to {most:g} are expected, not {text!r}")
    return seconds


def _host_port(parser: argparse.ArgumentParser, flag: str, text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        parser.error(f"argument {flag}: HOST:PORT is expected, like 192.0.2.7:31330, not {text!r}")
    return text


def _maddr(host: str, port: str = "0") -> str:
    host = host.strip("[]")
    kind = "ip6" if ":" in host else "ip4" if host.replace(".", "").isdecimal() else "dns"
    return f"/{kind}/{host}/tcp/{port}"
