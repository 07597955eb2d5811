"""Everything that the operator of a gateway can set, built once from the command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from p2pinfer.command_line.cache_folder import add_cache_folder
from p2pinfer.command_line.flags import number, path, port, whole_number
from p2pinfer.command_line.peers import add_initial_peers
from p2pinfer.command_line.program import Parser, program_parser, settings_of
from p2pinfer.gateway.access.key_command import default_key_file
from p2pinfer.gateway.access.origins import ANY, OriginRules, is_loopback, is_origin
from p2pinfer.gateway.storage import default_storage
from p2pinfer.http.connections.proxies import Network, add_proxies

_DESCRIPTION = """\
Give programs that know OpenAI's API the models of a swarm. A client needs only this program's address, with
/v1 behind it; /docs describes what it answers.

It listens on this machine only, unless told otherwise. For others it asks for API keys, which
`%(prog)s keys add NAME` makes. Ctrl-C ends it.
"""

_EXAMPLES = """\
examples:
  %(prog)s --initial-peers /ip4/203.0.113.7/tcp/31337/p2p/12D3...
  %(prog)s --initial-peers ... --model SmolLM2-135M-Instruct --port 8001
  %(prog)s keys add anna --requests-per-minute 60
  %(prog)s --initial-peers ... --host 0.0.0.0 --api-keys
"""

MOST_MODELS = 8
"""Models that are opened where none is named: each takes the memory of its embeddings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """One gateway's settings."""

    initial_peers: tuple[str, ...]
    models: tuple[str, ...]
    """Empty: those that the swarm serves as a whole."""
    host: str
    port: int
    api_keys: Path | None
    no_keys: bool
    allow_origin: tuple[str, ...]
    request_limit: int
    max_tokens: int | None
    cache_folder: Path
    batches: Path
    no_batches: bool
    files_gb: float
    proxies: tuple[Network, ...] = ()

    @classmethod
    def from_args(cls, argv: Sequence[str] | None = None) -> GatewayConfig:
        """Read the command line. --help, --version and a wrong flag end the process, as argparse does."""
        parser = _parser()
        flags = parser.parse_args(argv)
        if flags.api_keys is not None and flags.no_keys:
            parser.error("--api-keys and --no-keys contradict each other")
        if flags.api_keys is None and not flags.no_keys and not is_loopback(flags.host):
            parser.error(
                f"--host {flags.host} lets other machines in: give --api-keys (`{parser.prog} keys add NAME` "
                "makes keys), or --no-keys to let everybody use the swarm through this machine"
            )
        return cls(**settings_of(flags))

    @property
    def files_bytes(self) -> int:
        """What files of all users may take of the disk."""
        return int(self.files_gb * 1e9)

    @property
    def origins(self) -> OriginRules:
        """Which web pages may use it: where a key is needed, those that have one."""
        is_keyless = self.api_keys is None
        return OriginRules(
            only_loopback_hosts=is_keyless and is_loopback(self.host),
            only_own_origin=is_keyless,
            allowed_origins=frozenset(self.allow_origin),
        )


def _origin(text: str) -> str:
    if text != ANY and not is_origin(text):
        raise argparse.ArgumentTypeError(
            f"an origin is expected, like https://chat.example or http://127.0.0.1:3000, or *, not {text!r}"
        )
    return text


def _parser() -> Parser:
    parser = program_parser(
        "gateway",
        usage="%(prog)s --initial-peers ADDRESS [ADDRESS ...] [options]\n"
        "       %(prog)s keys add|list|remove ...",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    add_initial_peers(parser, required=True)
    parser.add_argument(
        "--model",
        dest="models",
        nargs="+",
        action="extend",
        default=[],
        metavar="MODEL",
        help="serve this model: a name in the swarm, or NAME@HASH; a hub id, a folder, or a layer store "
        f"(default: what the swarm serves as a whole, {MOST_MODELS} models at most)",
    )
    add_cache_folder(parser)
    door = parser.add_argument_group("who may use it")
    door.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: %(default)s, this machine only; 0.0.0.0: every network)",
    )
    door.add_argument(
        "--port",
        type=port,
        default=8000,
        metavar="N",
        help="port to listen on (default: %(default)s; 0: any free port)",
    )
    door.add_argument(
        "--api-keys",
        nargs="?",
        type=path,
        const=default_key_file(),
        default=None,
        metavar="FILE",
        help=f"answer only clients with a key of this file (without FILE: {default_key_file()})",
    )
    door.add_argument("--no-keys", action="store_true", help="let everybody in whom --host lets in")
    add_proxies(door)
    door.add_argument(
        "--allow-origin",
        type=_origin,
        nargs="+",
        action="extend",
        default=[],
        metavar="ORIGIN",
        help="let web pages of this origin use it, such as https://chat.example; *: of any",
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--request-limit",
        type=whole_number(1, 100_000),
        default=1_024,
        metavar="N",
        help="answer so many requests at the same time, and refuse more (default: %(default)s)",
    )
    limits.add_argument(
        "--max-tokens",
        type=whole_number(1, 10_000_000),
        default=None,
        metavar="N",
        help="the most tokens of an answer in a conversation whose request sets no limit "
        "(default: until the model's context ends)",
    )
    batches = parser.add_argument_group("files and batches")
    batches.add_argument(
        "--batches",
        type=path,
        default=default_storage(),
        metavar="FOLDER",
        help="keep files and batches there; several gateways may share it (default: %(default)s)",
    )
    batches.add_argument(
        "--no-batches", action="store_true", help="keep none: /v1/files and /v1/batches answer 404"
    )
    batches.add_argument(
        "--files-gb",
        type=number("gigabytes", 0.001, 1_000_000),
        default=10.0,
        metavar="N",
        help="refuse files beyond so many GB in all; a key may have a fourth of it (default: %(default)g)",
    )
    return parser
