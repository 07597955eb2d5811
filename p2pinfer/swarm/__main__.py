"""`python -m p2pinfer.swarm`: a peer that serves no layers and helps others find each other."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from p2pinfer.command_line.flags import gigabytes, number, path
from p2pinfer.command_line.log.setup import log_to
from p2pinfer.command_line.output import complain, say
from p2pinfer.command_line.peers import add_initial_peers
from p2pinfer.command_line.program import Parser, program_parser, run, settings_of
from p2pinfer.errors import SwarmError
from p2pinfer.swarm.reach.interfaces import has_ipv6
from p2pinfer.types import short_id

if TYPE_CHECKING:
    from p2pinfer.swarm.swarm import Swarm

_DESCRIPTION = """\
Run a bootstrap peer: it serves no layers, and is the door through which servers and clients enter a swarm.
It takes about 100 MB of memory and hardly any processor time.

It also passes on the traffic of members whose routers let nobody in, until they find a direct way; see
--no-relay and --relay-mbit.

Without --initial-peers a new swarm begins. The peer prints the addresses that others join with; with
--identity FILE and a fixed port in --listen they stay the same after a restart. Whom it met is kept in
FILE.peers: after a restart it goes back to its swarm, and is ready at once also if nobody is there any more.

Ctrl-C ends it. A swarm that others have joined lives on without it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapConfig:
    """What the flags say."""

    initial_peers: tuple[str, ...]
    listen: tuple[str, ...]  # multiaddresses
    announce: tuple[str, ...]  # multiaddresses; empty: those that are listened on
    identity: Path | None  # None: a new identity every time
    no_relay: bool
    relay_mbit: float | None  # per second, each way; None: unlimited
    relay_gb_per_month: float | None  # None: unlimited

    @classmethod
    def from_args(cls, argv: Sequence[str] | None = None) -> BootstrapConfig:
        """Read the command line. --help, --version and a wrong flag end the process, as argparse does."""
        return cls(**settings_of(_parser().parse_args(argv)))


def _parser() -> Parser:
    parser = program_parser("swarm", description=_DESCRIPTION)
    add_initial_peers(parser)
    parser.add_argument(
        "--listen",
        nargs="+",
        default=["/ip4/0.0.0.0/tcp/0", *(["/ip6/::/tcp/0"] if has_ipv6() else [])],
        metavar="ADDRESS",
        help="where to listen, as a multiaddress: /ip4/0.0.0.0/tcp/31330 is port 31330 in every IPv4 network "
        "of this machine, /ip6/::/tcp/31330 in every IPv6 network (default: all, any free port)",
    )
    parser.add_argument(
        "--announce",
        nargs="+",
        default=[],
        metavar="ADDRESS",
        help="what to tell others instead, such as your router with a forwarded port: "
        "/ip4/203.0.113.7/tcp/31330, or /dns/example.org/tcp/31330",
    )
    parser.add_argument(
        "--identity",
        type=path,
        metavar="FILE",
        help="where this peer's key is kept; created if missing (default: a new identity every time, "
        "which takes some seconds of computing)",
    )
    parser.add_argument(
        "--no-relay", action="store_true", help="pass nothing on between members that can't reach each other"
    )
    parser.add_argument(
        "--relay-mbit",
        type=number("megabits per second", 0.5, 1e6),
        metavar="MBIT",
        help="pass on at most so many megabits per second; each is received and sent (default: no limit)",
    )
    parser.add_argument(
        "--relay-gb-per-month",
        type=gigabytes,
        metavar="GB",
        help="pass on at most so many gigabytes a month; each is received and sent. With --identity FILE the "
        "count is kept in FILE.relayed, otherwise it begins anew with every start (default: no limit)",
    )
    return parser


async def serve(config: BootstrapConfig) -> None:
    """Be a peer until SIGINT or SIGTERM. Raises P2PInferError if it can't join or listen."""
    loop = asyncio.get_running_loop()
    living = loop.create_task(_live(config))
    for stop in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(stop, living.cancel)
    with suppress(asyncio.CancelledError):  # asked to stop: `_live` has left the swarm by then
        await living


async def _live(config: BootstrapConfig) -> None:
    from p2pinfer.identity import Identity  # after the flags: these load cryptography and hivemind
    from p2pinfer.price.paying import pay
    from p2pinfer.swarm.membership.kept_peers import KeptPeers
    from p2pinfer.swarm.reach.relay.allowance import Allowance, TrafficLimits, allowance_of
    from p2pinfer.swarm.reach.relay.month import Month
    from p2pinfer.swarm.remembering import join_remembering
    from p2pinfer.swarm.swarm import Swarm

    identity = Identity.load_or_create(config.identity) if config.identity else Identity.ephemeral()
    limits = TrafficLimits(
        enabled=not config.no_relay, mbit_per_s=config.relay_mbit, monthly_gb=config.relay_gb_per_month
    )
    month = Month(_beside(config.identity, "relayed"))
    known = _beside(config.identity, "peers")
    join = Swarm.join if known is None else partial(join_remembering, KeptPeers(known))

    def allowance() -> Allowance:
        return allowance_of(
            limits, relayed_bytes=month.relayed_bytes, seconds_to_next_month=month.seconds_left
        )

    with identity.in_use():  # another peer may have it: that is said before anything is computed
        await pay(identity, say)
    async with join(
        config.initial_peers,
        identity,
        listen_maddrs=config.listen,
        announce_maddrs=config.announce,
        allowance=allowance if limits.enabled else None,
    ) as swarm:
        say(f"join this swarm: --initial-peers {' '.join(swarm.addresses)}")
        say(f"relays: {_relay_words(config)}")
        if not config.initial_peers and (words := await _solitude(swarm)):
            say(words)
        say(f"ready: bootstrap peer {short_id(swarm.peer_id)}, Ctrl-C to leave")
        await month.save_forever()


def _beside(identity: Path | None, ending: str) -> Path | None:
    """A file next to that of the identity; None without one."""
    return None if identity is None else identity.with_name(f"{identity.name}.{ending}")


async def _solitude(swarm: Swarm) -> str:
    """What to say if none of those known from before is there; empty: somebody is, or none is known."""
    known = len(swarm.acquaintances())
    try:
        is_alone = not await swarm.connections()
    except SwarmError:
        is_alone = True
    if not known or not is_alone:
        return ""
    members, they_are = (
        ("the one member", "it is") if known == 1 else (f"any of the {known} members", "they are")
    )
    return f"no answer yet from {members} known from before: {they_are} asked again every few seconds"


def _relay_words(config: BootstrapConfig) -> str:
    """What this peer passes on for others, in words."""
    if config.no_relay:
        return "nothing"
    limits = []
    if config.relay_mbit is not None:
        limits.append(f"{config.relay_mbit:g} Mbit/s")
    if config.relay_gb_per_month is not None:
        limits.append(f"{config.relay_gb_per_month:g} GB a month")
    return f"at most {' and '.join(limits)}" if limits else "as much as members ask for (--relay-mbit)"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit statuses: 0 asked to stop, 1 it couldn't run, 2 a flag that can't work."""
    return run("swarm", lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    config = BootstrapConfig.from_args(argv)
    log_to(complain)
    asyncio.run(serve(config))
    return 0


if __name__ == "__main__":
    sys.exit(main())
