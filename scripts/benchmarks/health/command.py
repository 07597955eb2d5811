"""Send requests at a steady rate to a health page whose swarm has hundreds of servers, and time each.

Page, JSON and metrics are requested in turn, compressed as browsers ask for, on kept connections. Each
request is sent when it is due, even if earlier requests aren't answered yet, and is timed from that moment.
Ends with status 1 if the target was missed.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from scripts.benchmarks.shared.child import module_command, module_environment
from scripts.benchmarks.shared.flags import at_least
from scripts.benchmarks.shared.program import status_of
from scripts.benchmarks.shared.report import machine, say, verdict, write_json

PATHS = ("/", "/api/v1/state", "/metrics")
P99_TARGET_MS = 100.0
_WARM_UP_SECONDS = 2.0


@dataclass(slots=True, kw_only=True)
class Figures:
    """The results by path; times in milliseconds."""

    times: dict[str, list[float]] = field(default_factory=lambda: {path: [] for path in PATHS})
    transferred_bytes: dict[str, int] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)

    def all_times(self) -> list[float]:
        return sorted(time for times in self.times.values() for time in times)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark, print the table, and compare it with the target."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench_health", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=at_least(1), default=200, help="requests a second (default: 200)")
    parser.add_argument("--seconds", type=at_least(1), default=20, help="for how long (default: 20)")
    parser.add_argument("--servers", type=at_least(0), default=500, help="in the swarm (default: 500)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all values")
    args = parser.parse_args(argv)
    return status_of("scripts/bench_health", lambda: measure(args))


def measure(args: argparse.Namespace) -> int:
    """Start the page, load it, end it."""
    page = subprocess.Popen(
        module_command("scripts.benchmarks.health.page", str(args.servers)),
        env=module_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert page.stdout is not None
        port = int(page.stdout.readline())
        say(f"a page about {args.servers} servers; {args.rate} requests/s for {args.seconds} s")
        figures = asyncio.run(load(f"http://127.0.0.1:{port}", args.rate, args.seconds))
    finally:
        page.communicate(timeout=30)
    return report(figures, args)


async def load(url: str, rate: int, seconds: int) -> Figures:
    """Send all requests, each when it is due."""
    figures = Figures()
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=15)
    async with aiohttp.ClientSession(url, connector=connector, auto_decompress=False) as session:
        warm = Figures()
        await send_all(session, warm, rate, _WARM_UP_SECONDS)
        await send_all(session, figures, rate, float(seconds))
    return figures


async def send_all(session: aiohttp.ClientSession, figures: Figures, rate: int, seconds: float) -> None:
    begin = time.perf_counter()
    async with asyncio.TaskGroup() as requests:
        for number in range(int(rate * seconds)):
            due = begin + number / rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            requests.create_task(send(session, figures, PATHS[number % len(PATHS)], due))


async def send(session: aiohttp.ClientSession, figures: Figures, path: str, due: float) -> None:
    """Send one request and read all of the answer."""
    try:
        async with session.get(path, headers={"accept-encoding": "gzip"}) as response:
            body = await response.read()
            if response.status != 200:
                figures.errors[f"{path}: {response.status}"] += 1
                return
    except (aiohttp.ClientError, TimeoutError) as error:
        figures.errors[f"{path}: {type(error).__name__}"] += 1
        return
    figures.times[path].append((time.perf_counter() - due) * 1000)
    figures.transferred_bytes[path] = len(body)


def report(figures: Figures, args: argparse.Namespace) -> int:
    """Print the table; return 1 if a target was missed."""
    print(f"{'':<16}{'requests':>9}{'p50 ms':>9}{'p90 ms':>9}{'p99 ms':>9}{'max ms':>9}{'kB':>8}")
    for path, times in figures.times.items():
        row(path, sorted(times), f"{figures.transferred_bytes.get(path, 0) / 1000:.1f}")
    everything = figures.all_times()
    row("all", everything, "")
    errors = figures.errors.total()
    for what, count in figures.errors.most_common():
        print(f"  {count} x {what}")
    p99 = part_of(everything, 0.99)
    is_met = not errors and p99 < P99_TARGET_MS
    print(
        f"{args.rate} requests/s for {args.seconds} s, {args.servers} servers: {errors} errors, "
        f"p99 {p99:.1f} ms, target below {P99_TARGET_MS:.0f} ms: {verdict(is_met)}"
    )
    if args.json:
        settings = {"rate": args.rate, "seconds": args.seconds, "servers": args.servers}
        write_json(
            args.json,
            {**machine(), **settings, "milliseconds": figures.times, "errors": dict(figures.errors)},
        )
    return 0 if is_met else 1


def row(name: str, times: Sequence[float], size: str) -> None:
    """Print one line of percentiles. `times` are sorted."""
    parts = "".join(f"{part_of(times, part):>9.1f}" for part in (0.5, 0.9, 0.99, 1.0))
    print(f"{name:<16}{len(times):>9}{parts}{size:>8}")


def part_of(times: Sequence[float], part: float) -> float:
    """The time that this part of all times doesn't exceed; infinite if there are no times."""
    return times[min(len(times) - 1, int(part * len(times)))] if times else float("inf")


if __name__ == "__main__":
    sys.exit(main())
