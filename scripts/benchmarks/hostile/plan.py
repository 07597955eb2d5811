"""Which attacks there are, with which numbers, and from which addresses they come. Pure.

The numbers of each attack are tried beside others: what holds against one script only is no bound. Rates are
those of the whole attacker, whatever its number of addresses, and low enough for a niced process.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from scripts.benchmarks.hostile.attacks.scene import Scene

_FOLDER = "scripts.benchmarks.hostile.attacks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One attack: where its code is, its numbers, and whether more addresses make a difference to it.

    `is_tunnelled`: the servers are reached through libp2p only, as behind a router.
    """

    what: str
    module: str
    function: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    has_addresses: bool = True
    is_tunnelled: bool = False


def _records(identities: int) -> Attack:
    return Attack(
        what=f"{identities} records with spoiled certificates, announced into the DHT",
        module="records",
        function="records",
        numbers={"identities": identities},
        has_addresses=False,
    )


def _receipts(what: str, **numbers: float) -> Attack:
    return Attack(what=what, module="receipts", function="receipts", numbers=numbers)


def _half_frames(guests: int, tokens: int) -> Attack:
    return Attack(
        what=f"{guests} sessions of {tokens} tokens: a frame for 512 tokens, without its end",
        module="half_frames",
        function="half_frames",
        numbers={"guests": guests, "tokens": tokens, "rate": 40},
    )


def _connections(what: str, function: str, **numbers: float) -> Attack:
    return Attack(what=what, module="connections", function=function, numbers={"rate": 150} | numbers)


def _free(what: str, **numbers: float) -> Attack:
    return Attack(what=what, module="free_work", function="free_work", numbers={"rate": 30} | numbers)


def _web(what: str, function: str, **numbers: float) -> Attack:
    return Attack(what=what, module="web", function=function, numbers={"rate": 300} | numbers)


ATTACKS: Mapping[str, Attack] = {
    "records": _records(3),
    "records-11": _records(11),
    "receipts-padded": _receipts(
        "a session of one token, and 60 KB of padding in its receipt", padding=60_000, guests=16, rate=60
    ),
    "receipts-padded-2k": _receipts(
        "the same with 2 KB, and one key", padding=2_000, guests=16, rate=60, **{"one key": 1}
    ),
    "receipts-many": _receipts("sessions of one token, each signed for", padding=0, guests=24, rate=120),
    "half-frames": _half_frames(120, 512),
    "half-frames-small": _half_frames(500, 1),
    "half-frames-30": _half_frames(30, 64),
    "one-byte": _connections("1,024 connections that send 0x16", "one_byte", connections=1024),
    "one-byte-1500": _connections(
        "1,500 of them, and new ones faster", "one_byte", connections=1500, rate=400
    ),
    "half-hello": _connections("half a ClientHello, 1,100 times", "half_hello", connections=1100),
    "slow-hello": _connections("a byte of a ClientHello a second, 300 times", "slow_hello", connections=300),
    "silent-tls": _connections(
        "TLS, and then no request, 1,100 times", "silent_tls", connections=1100, rate=100
    ),
    "silent-lanes": _connections(
        "lanes of no session, 600 of them", "silent_lanes", connections=600, rate=100
    ),
    "empty-calls": _connections(
        "500 connections of gRPC with 20 calls whose messages never come",
        "empty_calls",
        connections=500,
        calls=20,
        rate=100,
    ),
    "empty-calls-900": _connections(
        "40 connections of gRPC with 900 such calls", "empty_calls", connections=40, calls=900, rate=20
    ),
    "tunnels": Attack(
        what="4 identities with 64 tunnels each",
        module="tunnels",
        function="tunnels",
        numbers={"identities": 4, "streams": 64, "rate": 60},
        has_addresses=False,
        is_tunnelled=True,
    ),
    "tunnels-silent": Attack(
        what="6 identities with 50 streams each that say nothing",
        module="tunnels",
        function="tunnels",
        numbers={"identities": 6, "streams": 50, "silent": 1, "rate": 60},
        has_addresses=False,
        is_tunnelled=True,
    ),
    "whole-cache": Attack(
        what="one opening that leases all the cache, kept alive by SetUpstream",
        module="openings",
        function="whole_cache",
        numbers={"guests": 1, "rate": 2},
    ),
    "whole-cache-20": Attack(
        what="20 keys that lease what is left",
        module="openings",
        function="whole_cache",
        numbers={"guests": 20, "rate": 20},
    ),
    "all-sessions": Attack(
        what="4 keys that open 512 sessions",
        module="openings",
        function="all_sessions",
        numbers={"keys": 4, "sessions": 512, "rate": 100},
    ),
    "all-sessions-600": Attack(
        what="a key for each of 600 sessions",
        module="openings",
        function="all_sessions",
        numbers={"keys": 600, "sessions": 600, "rate": 100},
    ),
    "pings": Attack(
        what="400 pings a second, and as many questions about no session",
        module="openings",
        function="pings",
        numbers={"guests": 64, "rate": 400},
    ),
    "free-prefill-1": _free("one session of unsigned prefill after the other", guests=1),
    "free-prefill-60": _free("60 sessions at a time of unsigned prefill", guests=60),
    "free-decode-60": _free("60 sessions at a time that decode 8 rows, unsigned", guests=60, decodes=1),
    "signed-prefill-60": _free("60 sessions of prefill whose keys sign for all", guests=60, signs=1),
    "signed-decode-60": _free("60 sessions that decode 8 rows and sign", guests=60, decodes=1, signs=1),
    "port-scan": Attack(
        what="next hops at 600 doors, half of them open, with fresh keys",
        module="port_scan",
        function="port_scan",
        numbers={"doors": 600, "guests": 200, "rate": 130},
    ),
    "words": Attack(
        what="a server whose words are ESC sequences and 60 KB long",
        module="words",
        function="words",
        numbers={"letters": 60_000},
        has_addresses=False,
    ),
    "page-half": _web("2,100 half requests to the health page", "half_requests", connections=2100),
    "page-half-slow": _web(
        "600 requests, a header line a second", "half_requests", connections=600, slowly=1
    ),
    "page-posts": _web("4 posts of receipts, a byte a second", "slow_posts", connections=4, slowly=1),
    "page-posts-40": _web("40 of them", "slow_posts", connections=40, slowly=1),
    "page-listeners": _web("500 event listeners", "listeners", connections=500),
    "page-listeners-1200": _web("1,200 event listeners", "listeners", connections=1200),
    "log-flood": Attack(
        what="200 openings and calls a second that fail in six ways",
        module="openings",
        function="log_flood",
        numbers={"guests": 40, "rate": 200},
    ),
}

_OWN_NETWORK = 1
"""127.1.1.1, 127.1.2.1, ...: each in a /24 of its own, none in the honest clients' 127.0.0.0/24."""


def sources(count: int) -> tuple[str, ...]:
    """Addresses of this machine that an attacker with so many networks comes from.

    >>> sources(2)
    ('127.1.1.1', '127.1.2.1')
    """
    return tuple(f"127.{_OWN_NETWORK}.{number}.1" for number in range(1, count + 1))


def rounds(names: frozenset[str], address_counts: tuple[int, ...]) -> list[tuple[str, int]]:
    """The rounds, in the order of the table: an attack that has no addresses comes once."""
    return [
        (name, count)
        for name, attack in ATTACKS.items()
        if name in names
        for count in (address_counts if attack.has_addresses else address_counts[:1])
    ]


def function_of(name: str) -> Callable[[Scene], Coroutine[Any, Any, None]]:
    """The code of an attack."""
    attack = ATTACKS[name]
    module = importlib.import_module(f"{_FOLDER}.{attack.module}")
    return cast("Callable[[Scene], Coroutine[Any, Any, None]]", getattr(module, attack.function))
