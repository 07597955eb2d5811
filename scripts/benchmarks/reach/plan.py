"""What bench_reach measures, between which homes, and its goals (pure)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from scripts.lab import RouterKind

PARTS = {
    "table": "servers behind each kind of router, clients behind others: the way, and what it costs",
    "move": "a session that begins relayed and becomes punched: tokens lost, the longest gap",
    "relay-killed": "the relay is killed in mid-answer: the text, and how long it stops",
}

IPV6, IPV6_ONLY = "ipv6", "ipv6-only"
KINDS = {kind.value: (kind.__doc__ or "") for kind in RouterKind} | {
    IPV6: "a usual home for IPv4, with open public IPv6",
    IPV6_ONLY: "no router, and no IPv4",
}
SERVER_KINDS = ("home", "full-cone", "symmetric", "carrier", "udp-blocked", "port-mapping", IPV6)
CLIENT_KINDS = ("none", "home", "symmetric", "udp-blocked")
QUICK_SERVER_KINDS, QUICK_CLIENT_KINDS = ("home",), ("none", "home")
OPEN = "none"

PEERS = 3
FIRST_TOKENS = 16
MOVE_TOKENS = 240
KILL_TOKENS, KILL_AFTER = 60, 15
KILLS, QUICK_KILLS = 10, 2
MENDED_SECONDS = 25.0
"""After a killed relay is back, until the next kill: members have 20 s to take places at it again."""
PATIENCE_SECONDS = 40.0
"""From a client's start: a way that isn't the final one by then is measured as it is."""

FIRST_TOKEN_GOAL_SECONDS = 15.0
PUNCHED_GOAL_SECONDS = 25.0
PUNCHED_GOAL, RELAYED_GOAL = 0.9, 0.45
GAP_GOAL_SECONDS = 0.3
STALL_GOAL_SECONDS = 3.0

RELAYED = "relayed"
FINAL_WAYS = frozenset({"direct", "mapped", "tunnel", "punched"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The home of each server, and the client's."""

    server: str
    client: str

    def __str__(self) -> str:
        return f"{self.server} x {self.client}"


def pairs(servers: Sequence[str], clients: Sequence[str]) -> list[Pair]:
    """Every server's kind with every client's."""
    return [Pair(server=server, client=client) for server in servers for client in clients]


def is_final(ways: Collection[str | None]) -> bool:
    """Whether no better way than these is waited for: all hops are reached, none through a relay."""
    return bool(ways) and all(way in FINAL_WAYS for way in ways)
