"""`python -m p2pinfer.swarm`: a peer that serves no layers and helps others find each other."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from p2pinfer.errors import P2PInferError, UsageError
from p2pinfer.identity import Identity
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.types import short_id

_HELP = """\
Run a bootstrap peer: it serves no layers, costs little (about 100 MB of memory, hardly any CPU), and is the
door through which servers and clients enter the swarm. Without --initial-peers it begins a new swarm.
It prints the line that others join with; with --identity FILE and a fixed port that line stays the same.
End it with Ctrl-C: a swarm that others have joined lives on without it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapConfig:
    """What the flags say."""

    initial_peers: tuple[str, ...]
    listen_maddrs: tuple[str, ...]
    announce_maddrs: tuple[str, ...]
    identity_file: Path | None

    @classmethod
    def from_args(cls, argv: Sequence[str] | None = None) -> BootstrapConfig:
        """Read the command line; ends the process on --help and on a flag that isn't understood (code 2)."""
        parser = argparse.ArgumentParser(
            prog="python -m p2pinfer.swarm",
            description=_HELP,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        parser.add_argument(
            "--initial-peers",
            nargs="+",
            default=[],
            metavar="MADDR",
            help="join the swarm of these peers: copy what one of them printed",
        )
        parser.add_argument(
            "--listen",
            nargs="+",
            default=["/ip4/0.0.0.0/tcp/0"],
            metavar="MADDR",
            help="addresses to listen on (default: %(default)s, any free port on every network)",
        )
        parser.add_argument(
            "--announce",
            nargs="+",
            default=[],
            metavar="MADDR",
            help="addresses to tell others instead, such as your router's with a forwarded port",
        )
        parser.add_argument(
            "--identity",
            type=Path,
            metavar="FILE",
            help="where this peer's key is kept; created if missing (default: a new identity every time)",
        )
        flags = parser.parse_args(argv)
        return cls(
            initial_peers=tuple(flags.initial_peers),
            listen_maddrs=tuple(flags.listen),
            announce_maddrs=tuple(flags.announce),
            identity_file=flags.identity,
        )


async def serve(config: BootstrapConfig) -> None:
    """Be a peer until SIGINT or SIGTERM. Raises P2PInferError if that can't be."""
    loop = asyncio.get_running_loop()
    living = loop.create_task(_live(config))
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, living.cancel)
    with suppress(asyncio.CancelledError):  # asked to stop: `_live` has left the swarm by then
        await living


async def _live(config: BootstrapConfig) -> None:
    identity = Identity.load_or_create(config.identity_file) if config.identity_file else Identity.ephemeral()
    async with Swarm.join(
        config.initial_peers,
        identity,
        listen_maddrs=config.listen_maddrs,
        announce_maddrs=config.announce_maddrs,
    ) as swarm:
        print(f"join this swarm: --initial-peers {' '.join(swarm.addresses)}", flush=True)
        print(f"ready: bootstrap peer {short_id(swarm.peer_id)}, Ctrl-C to leave", flush=True)
        await asyncio.Event().wait()


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 asked to stop, 1 it couldn't run, 2 a flag that can't be."""
    config = BootstrapConfig.from_args(argv)
    try:
        asyncio.run(serve(config))
    except P2PInferError as error:
        print(f"p2pinfer.swarm: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
