"""Servers and clients behind home routers: do they reach each other, by which way, how soon, and how fast?

Two bootstrap peers in public, three servers and a client, each on its own host of the WAN lab, with a
profile's delays; servers and client stand behind routers, and get no flag that says where they are. Beside
them runs a swarm in the open, which is measured in turns with each of the others. Needs root, nftables,
iproute2, and miniupnpd for its kind; ends with status 77 where the lab can't run. Ctrl-C prints what was
measured so far. Parts for --only:
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from scripts.benchmarks.reach import plan
from scripts.benchmarks.reach.stages import Settings, measure
from scripts.benchmarks.reach.table import table
from scripts.benchmarks.shared.flags import at_least, some_of
from scripts.benchmarks.shared.program import status_of
from scripts.benchmarks.shared.report import say, write_json
from scripts.lab import PROFILES


def parse_flags() -> tuple[Settings, Path]:
    """The benchmark's settings, and the path of the JSON file."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench_reach",
        description=(__doc__ or "") + "\n".join(f"  {name:13} {what}" for name, what in plan.PARTS.items()),
        epilog=f"kinds: {', '.join(plan.KINDS)}; docs/wan-lab.md says what each router does.\n"
        "ipv6 is a usual home with open public IPv6, ipv6-only a host without IPv4.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one kind of server, two of clients, one short round: to see that it works",
    )
    for flag, default, whose in (
        ("--kinds", plan.SERVER_KINDS, "servers"),
        ("--clients", plan.CLIENT_KINDS, "clients"),
    ):
        parser.add_argument(
            flag,
            type=some_of(plan.KINDS),
            metavar="KIND[,KIND...]",
            help=f"behind what the {whose} stand ({', '.join(default)})",
        )
    parser.add_argument(
        "--only",
        type=some_of(plan.PARTS),
        default=frozenset(plan.PARTS),
        metavar="PART[,PART...]",
        help="see above (all)",
    )
    parser.add_argument(
        "--profile", choices=PROFILES, default="home-cable", help="of every link (home-cable)"
    )
    parser.add_argument("--tokens", type=at_least(2), default=48, metavar="N", help="tokens a round (48)")
    parser.add_argument("--repetitions", type=at_least(1), default=3, metavar="N", help="rounds (3)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of losses and jitter (1)")
    parser.add_argument("--json", type=Path, default=Path("build/bench_reach.json"), metavar="FILE")
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="keep what all processes print there")
    flags = parser.parse_args()
    servers = plan.QUICK_SERVER_KINDS if flags.quick else plan.SERVER_KINDS
    clients = plan.QUICK_CLIENT_KINDS if flags.quick else plan.CLIENT_KINDS
    settings = Settings(
        parts=flags.only,
        pairs=tuple(
            plan.pairs(
                [kind for kind in plan.KINDS if kind in (flags.kinds or servers)],
                [kind for kind in plan.KINDS if kind in (flags.clients or clients)],
            )
        ),
        profile=flags.profile,
        num_tokens=24 if flags.quick else flags.tokens,
        repetitions=1 if flags.quick else flags.repetitions,
        kills=plan.QUICK_KILLS if flags.quick else plan.KILLS,
        seed=flags.seed,
        logs=flags.logs,
    )
    return settings, flags.json


def main() -> int:
    """Run the benchmark, print the table, write the JSON file."""
    settings, json_file = parse_flags()
    if settings.logs is not None:
        settings.logs.mkdir(parents=True, exist_ok=True)

    def work() -> int:
        started = time.monotonic()
        measured: dict[str, Any] = {}
        try:
            measure(settings, measured)
        finally:  # whoever stops a long run keeps what it has measured
            if measured:
                write_json(json_file, measured)
                print(table(measured))
                say(f"\n{time.monotonic() - started:.0f} s; every value is in {json_file}")
        return 0

    return status_of("bench_reach", work)


if __name__ == "__main__":
    sys.exit(main())
