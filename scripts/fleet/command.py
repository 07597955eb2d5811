"""Simulate a day of a fleet of cars: who takes which layers, and what the models can do with it.

The servers decide with the product's own code (p2pinfer/server/placement), on a virtual clock, without
sockets. Cars come home in the evening and leave in the morning, with short trips in between; a tenth are
computers that stay. Some owners name hours, which begin and end for all of them at the same time, and are
announced; other cars leave within a minute, or without a word. Speeds differ by a factor of 8, memory by 4,
lines by 4. Disks are empty when the simulation begins, three hours before the day that is counted.

Columns: `possible` is the share of the time in which those present have room for every layer. `once` and
`twice` say how long servers that take new sessions hold every layer so often, all day and from 19 to 6. `of
oracle` is the rate of the weakest layer, divided by that of an oracle that places everybody present at
will, those too that still load: the sum of their speeds, divided by the layers. No placement reaches it.
`of loaded`: likewise, of those that have loaded. Both are means over time. Moves and fetched gigabytes are
per server and day.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from p2pinfer.server.placement.moving import GAIN
from scripts.benchmarks.shared.flags import at_least, some_of
from scripts.benchmarks.shared.program import status_of
from scripts.benchmarks.shared.report import machine, say, write_json
from scripts.fleet.day import Fleet
from scripts.fleet.discovery.command import LEAST_SERVERS, simulate_discovery
from scripts.fleet.machines import Model, fleet_of
from scripts.fleet.petals import Petals
from scripts.fleet.rules import JoinOnly, Ours, Rule
from scripts.fleet.service import Tally
from scripts.fleet.stays import HOUR
from scripts.fleet.table import HEADER, hourly_lines, row

RULES = ("ours", "join-only", "petals")
BEGINS_AT = 12 * HOUR
RUN_IN_SECONDS = 3 * HOUR


def main(argv: Sequence[str] | None = None) -> int:
    """Simulate with each rule, and print the table."""
    args = flags_of(argv)
    work = simulate_discovery if args.discovery else simulate
    return status_of("scripts/simulate_fleet", lambda: work(args))


def flags_of(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/simulate_fleet",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--servers",
        type=at_least(1),
        help="machines in all (default: 1,000; with --discovery sizes up to 1,000,000)",
    )
    parser.add_argument(
        "--hours", type=at_least(1), default=24, help="that are counted, from 15:00 on (default: 24)"
    )
    parser.add_argument("--seed", type=at_least(0), default=1, help="of the fleet and of chance (default: 1)")
    parser.add_argument(
        "--rule",
        type=some_of(RULES),
        default=frozenset(RULES),
        help=f"some of {','.join(RULES)} (default: all)",
    )
    parser.add_argument(
        "--gain",
        type=_gains,
        default=[GAIN],
        help=f"of a move, for ours; several with commas (default: {GAIN})",
    )
    parser.add_argument(
        "--models",
        type=_sizes,
        default=[30, 80],
        help="their numbers of layers, with commas (default: 30,80)",
    )
    parser.add_argument("--layer-mb", type=at_least(1), default=250, help="bytes of a layer (default: 250)")
    parser.add_argument(
        "--mbit", type=at_least(1), default=100, help="of a typical line, per second (default: 100)"
    )
    parser.add_argument("--zones", type=at_least(1), default=1, help="time zones, an hour apart (default: 1)")
    parser.add_argument("--hourly", action="store_true", help="a line for each hour as well")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all values")
    parser.add_argument(
        "--discovery",
        action="store_true",
        help="simulate how servers are found instead, with ten clients a server (see docs/architecture.md); "
        "it uses --servers, --newcomers, --seed and --json only",
    )
    parser.add_argument(
        "--newcomers", type=at_least(1), default=1000, help="among hostile servers (default: 1,000)"
    )
    args = parser.parse_args(argv)
    if args.servers is None:
        args.servers = 1_000_000 if args.discovery else 1000
    if args.discovery and args.servers < LEAST_SERVERS:
        parser.error(f"--discovery needs --servers {LEAST_SERVERS} or more: a smaller swarm is one cell")
    return args


def simulate(args: argparse.Namespace) -> int:
    """One fleet, lived through once with each rule."""
    models = [
        Model(hash=f"{number:02x}" * 32, num_layers=layers, layer_bytes=args.layer_mb * 1e6)
        for number, layers in enumerate(args.models)
    ]
    ends_at = BEGINS_AT + RUN_IN_SECONDS + args.hours * HOUR
    machines = fleet_of(
        args.servers, models, zones=args.zones, mbit=args.mbit, ends_at=ends_at, seed=args.seed
    )
    print(HEADER, flush=True)
    kept = []
    for name, make in _rules(args):
        began = time.process_time()
        fleet = Fleet(machines, make(), BEGINS_AT, args.seed)
        fleet.run(BEGINS_AT + RUN_IN_SECONDS)
        fleet.measure_from_now()
        fleet.run(ends_at)
        for cell in fleet.cells.values():
            servers = sum(one.model == cell.model for one in machines)
            print(row(name, cell.model.num_layers, servers, args.hours, cell.service.hours), flush=True)
            if args.hourly:
                print("\n".join(hourly_lines(cell.service.hours)), flush=True)
            kept.append(_kept(name, cell.model, servers, cell.service.hours))
        say(f"{name}: {time.process_time() - began:.0f} s of processor time")
    if args.json:
        flags = {name: str(value) for name, value in vars(args).items()}
        write_json(args.json, {**machine(), "flags": flags, "models": kept})
    return 0


def _rules(args: argparse.Namespace) -> list[tuple[str, Callable[[], Rule]]]:
    found: list[tuple[str, Callable[[], Rule]]] = []
    if "ours" in args.rule:
        found += [(f"ours, gain {gain:g}", lambda gain=gain: Ours(gain)) for gain in args.gain]  # type: ignore[misc]
    if "join-only" in args.rule:
        found.append(("join only", JoinOnly))
    if "petals" in args.rule:
        found.append(("Petals", lambda: Petals(args.seed)))
    return found


def _kept(rule: str, model: Model, servers: int, hours: Sequence[Tally]) -> dict[str, object]:
    return {
        "rule": rule,
        "layers": model.num_layers,
        "servers": servers,
        "hours": [asdict(one) for one in hours],
    }


def _gains(text: str) -> list[float]:
    gains = [float(part) for part in text.split(",")]
    if min(gains) < 1.0:
        raise argparse.ArgumentTypeError("a gain is at least 1")
    return gains


def _sizes(text: str) -> list[int]:
    return [at_least(1)(part) for part in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
