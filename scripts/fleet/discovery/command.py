"""Simulate discovery in cells: what a swarm's size costs a key, a node, a server and a client.

Servers live in 400 cities of very unequal sizes. They are announced, and clients read, by the product's
own rules (p2pinfer/swarm/cells), on arrays; the DHT has the servers for nodes. All figures are of one model's
tree.

Columns: cells that are somebody's home, and their greatest depth. Of any key the most records, and the most
servers that ask for a place there within five minutes. Records: the mean and the most of a node; the mean of
what a read brings. Keys of a server (its cells, times two). Messages of a server that joins, and at rest in
an hour. Of a client: cells read at its start and when it comes back (every 10 minutes), hops of a lookup,
megabytes at its start and in an hour, at 1,000 bytes a record. Questions a minute at the busiest node for the
root's key: where a node on the path that knows the answer gives it (`ours`), and where only the keepers do.

Then: how many newcomers find a whole honest route where a share of all identities is hostile (hostile.py says
what these do): with one lookup of one key of each cell, with as many walks without a common node for each
key as the product takes, where the cells beside an own one of few servers are read as well (that is what
readers do), and where those beside every own one are. Then how many of a few honest servers a reader sees
among a flood of paid identities (flood.py). At last a burst of servers, and a lost region.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

from p2pinfer.swarm.kademlia.node import WALKS
from scripts.benchmarks.shared.report import machine, write_json
from scripts.fleet.discovery.events import burst, loss
from scripts.fleet.discovery.flood import flood
from scripts.fleet.discovery.growth import growth_of
from scripts.fleet.discovery.hostile import Hostile, hostile_day
from scripts.fleet.discovery.table import GROWTH_HEADER, event_lines, flood_lines, growth_row, hostile_lines

LEAST_SERVERS = 100
SIZES = (100, 1_000, 10_000, 100_000, 1_000_000)
CLIENTS_OF_SERVER = 10
SHARES = (0.01, 0.1, 0.3, 0.5)
HOSTILE_SERVERS = 20_000
HONEST = 30
FLOODS = (775, 10_000)
ARRIVALS = 10_000
EVENT_SERVERS = 100_000


def simulate_discovery(args: argparse.Namespace) -> int:
    """Print the tables. Of `args` it reads `servers` (the largest size), `newcomers`, `seed` and `json`."""
    print(GROWTH_HEADER, flush=True)
    lines = []
    for servers in sizes_up_to(args.servers):
        lines.append(growth_of(servers, CLIENTS_OF_SERVER * servers, args.seed))
        print(growth_row(lines[-1]), flush=True)
    servers = min(args.servers, HOSTILE_SERVERS)
    worlds = [
        Hostile(share=share, best_ranks=best, first=first)
        for best, first in ((False, False), (True, False), (True, True))
        for share in SHARES
    ]
    days = [hostile_day(servers, hostile, WALKS, args.newcomers, args.seed) for hostile in worlds]
    print("", *hostile_lines(days, args.newcomers), sep="\n", flush=True)
    floods = [
        flood(identities, HONEST, honest_first=first, readers=args.newcomers, seed=args.seed)
        for first in (True, False)
        for identities in FLOODS
    ]
    print("", *flood_lines(floods), sep="\n", flush=True)
    servers = min(args.servers, EVENT_SERVERS)
    crowd, gone = burst(servers, ARRIVALS, args.seed), loss(servers, args.seed)
    print("", *event_lines(crowd, gone), sep="\n", flush=True)
    if args.json:
        values = {
            "growth": [asdict(one) for one in lines],
            "hostile": [asdict(one) for one in days],
            "flood": [asdict(one) for one in floods],
            "burst": asdict(crowd),
            "loss": asdict(gone),
        }
        write_json(args.json, {**machine(), **values})
    return 0


def sizes_up_to(most: int) -> list[int]:
    """The sizes of the table: powers of ten below `most`, and `most`."""
    return [*(size for size in SIZES if size < most), most]
