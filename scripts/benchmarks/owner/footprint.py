"""Measure what one real server costs its owner: idle, at work under a limit, and paused.

The owner's policy asks for `parked`, which a file says, and limits the server's share of the processors.
Meanwhile clients on the same machine keep the server busy with long prompts. How much the server computes
without a limit is measured too: a limit above that share has no effect. Then the car leaves, and comes back.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from p2pinfer.errors import SwarmError
from p2pinfer.folders import user_cache_folder
from p2pinfer.local_swarm.default_model import SMOLLM2, fetch_model_file
from p2pinfer.local_swarm.server_process import READY_PREFIX, ServerProcess
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.source import open_model
from scripts.benchmarks.contenders.turns import Contender
from scripts.benchmarks.shared import prompts
from scripts.benchmarks.shared.idleness import idle_shares
from scripts.benchmarks.shared.program import status_of
from scripts.benchmarks.shared.report import machine, say, verdict, write_json
from scripts.benchmarks.shared.resident_memory import children_megabytes, megabytes

SHARES = (1.0, 0.5, 0.25)
PROMPT_TOKENS = 512
CLIENTS = 3  # one client alone would leave the server idle while the client itself computes
PAUSED_PREFIX = "paused:"
PAUSED_CORE_SHARE = 0.005
TOLERANCE = 1.1
"""Tolerance above the limit: the limit is for batches; the server's other work (its connections, the swarm)
comes on top."""

SETTLING_SECONDS = 3.0
POLICY_SECONDS = 12.0
"""The time until a changed policy is in force: the server reads the file and its limits at intervals."""
CHANGE_SECONDS = 60.0

POLICY = """\
version = 1
[when]
parked = true
[limits]
cpu_share = {share}
[signals]
parked = {{ file = "parked" }}
poll_seconds = 0.5
"""


class Car:
    """A server with all layers of a model; its owner's files are in a folder."""

    def __init__(self, folder: Path, swarm: LocalSwarm) -> None:
        self._folder = folder
        self._swarm = swarm

    @property
    def server(self) -> ServerProcess:
        """The server's process."""
        return self._swarm.servers[0]

    def start(self, store: LayerStore) -> None:
        """Start the server, parked and without a limit. Raises SwarmError."""
        self.limit(SHARES[0])
        self._say_parked(True)
        policy = str(self._folder / "policy.toml")
        self._swarm.start(store.folder, [store.span], server_arguments=("--policy", policy))

    def limit(self, share: float) -> None:
        """Set the server's share of the processors; the server takes POLICY_SECONDS to notice."""
        _replace(self._folder / "policy.toml", POLICY.format(share=share))

    def leave(self) -> float:
        """Drive away; return the seconds until the server is paused. Raises SwarmError if it never is."""
        return self._change(lambda: self._say_parked(False), PAUSED_PREFIX)

    def come_back(self) -> float:
        """Park; return the seconds until the server serves. Raises SwarmError if it never does."""
        return self._change(lambda: self._say_parked(True), READY_PREFIX)

    def _say_parked(self, parked: bool) -> None:
        _replace(self._folder / "parked", str(parked).lower())

    def _change(self, cause: Callable[[], None], prefix: str) -> float:
        """Seconds until the server prints one more line with this prefix."""
        before, began = self._count(prefix), time.monotonic()
        cause()
        while self._count(prefix) == before:
            if time.monotonic() - began > CHANGE_SECONDS or self.server.returncode is not None:
                said = "".join(f"\n    {line}" for line in self.server.lines[-8:])
                raise SwarmError(f"the server didn't say {prefix!r} in time; it said:{said}")
            time.sleep(0.02)
        return time.monotonic() - began

    def _count(self, prefix: str) -> int:
        return sum(line.startswith(prefix) for line in self.server.lines)


def _replace(path: Path, text: str) -> None:
    """Write the file atomically: the server may read it at any moment."""
    draft = path.with_suffix(".new")
    draft.write_text(text)
    draft.replace(path)


def footprint(car: Car, seconds: float) -> dict[str, float]:
    """What the server costs while nothing happens."""
    time.sleep(SETTLING_SECONDS)
    pid = car.server.pid
    shares = idle_shares({"server": pid}, seconds)["server"]
    return {
        "core share": shares["own"] + shares["children"],
        "MB": megabytes(pid),
        "p2pd MB": children_megabytes(pid),
    }


def machine_share(car: Car, clients: Sequence[Contender], prompt: list[int], seconds: float) -> float:
    """The share of all processors that the server computes for clients that ask without a break."""
    process = psutil.Process(car.server.pid)
    over = threading.Event()

    def ask_until_over(client: Contender) -> None:
        while not over.is_set():
            client.ask("prefill", prompt=prompt)

    with ThreadPoolExecutor(max_workers=len(clients)) as asking:
        asked = [asking.submit(ask_until_over, client) for client in clients]
        try:
            time.sleep(SETTLING_SECONDS)
            before, began = process.cpu_times(), time.monotonic()
            wait(asked, timeout=seconds, return_when=FIRST_EXCEPTION)
            after, ended = process.cpu_times(), time.monotonic()
        finally:
            over.set()
    for answers in asked:
        answers.result()
    used = after.user + after.system - before.user - before.system
    return float(used) / (ended - began) / (psutil.cpu_count() or 1)


def measure(idle_seconds: float, load_seconds: float) -> dict[str, Any]:
    """Measure one server in all of its states."""
    model_file = fetch_model_file(SMOLLM2, user_cache_folder(), progress=say)
    store = open_model(str(model_file), cache_folder=user_cache_folder(), progress=say)
    measured: dict[str, Any] = {"model": store.manifest.name, "machine": machine(), "under load": {}}
    with tempfile.TemporaryDirectory(prefix="p2pinfer-owner-") as folder, LocalSwarm() as swarm:
        car = Car(Path(folder), swarm)
        say("starting a server of all layers")
        car.start(store)
        measured["weights MB"] = store.layer_bytes(store.span) / 1e6
        say(f"measuring it idle, {idle_seconds:.0f} s")
        measured["idle"] = footprint(car, idle_seconds)
        parameters = {"store": str(store.folder), "initial_peers": swarm.initial_peers}
        with ExitStack() as stack:
            clients = [stack.enter_context(Contender("swarm", **parameters)) for _ in range(CLIENTS)]
            prompt = prompts.long_text(store, PROMPT_TOKENS)
            for share in SHARES:
                say(f"measuring it under load with cpu_share = {share:g}, {load_seconds:.0f} s")
                car.limit(share)
                time.sleep(POLICY_SECONDS)
                measured["under load"][str(share)] = machine_share(car, clients, prompt, load_seconds)
            measured["MB at work"] = megabytes(car.server.pid)
        say(f"the car leaves; measuring it paused, {idle_seconds:.0f} s")
        measured["seconds to paused"] = car.leave()
        measured["paused"] = footprint(car, idle_seconds)
        measured["seconds to serving again"] = car.come_back()
    return measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the table; `met` is None where there is no goal."""

    what: str
    found: str
    goal: str = ""
    met: bool | None = None


def lines(measured: dict[str, Any]) -> list[Line]:
    """The figures, with goals."""
    idle, paused, load = measured["idle"], measured["paused"], measured["under load"]
    without_model = idle["MB"] - measured["weights MB"] / 2
    found = [
        Line(what="idle, of a core (with p2pd)", found=f"{idle['core share']:.2%}"),
        Line(what="idle, memory", found=f"{idle['MB']:.0f} MB + p2pd {idle['p2pd MB']:.0f} MB"),
        Line(what="at work, memory", found=f"{measured['MB at work']:.0f} MB"),
        Line(
            what="paused, of a core",
            found=f"{paused['core share']:.2%}",
            goal=f"< {PAUSED_CORE_SHARE:.1%}",
            met=paused["core share"] < PAUSED_CORE_SHARE,
        ),
        Line(
            what="paused, memory",
            found=f"{paused['MB']:.0f} MB + p2pd {paused['p2pd MB']:.0f} MB",
            goal=f"< {without_model:.0f} MB: no model",
            met=paused["MB"] < without_model,
        ),
        Line(what="from signal to paused", found=f"{measured['seconds to paused']:.1f} s"),
        Line(what="from signal to serving again", found=f"{measured['seconds to serving again']:.1f} s"),
    ]
    unlimited = load[str(SHARES[0])]
    found.append(Line(what="at work without a limit, of the machine", found=f"{unlimited:.1%}"))
    for share in SHARES[1:]:
        used, binding = load[str(share)], unlimited > share
        found.append(
            Line(
                what=f"at work with cpu_share = {share:g}",
                found=f"{used:.1%}",
                goal=f"< {share * TOLERANCE:.1%}" if binding else "(there is not so much to do)",
                met=used < share * TOLERANCE if binding else None,
            )
        )
    return found


def table(measured: dict[str, Any]) -> str:
    """The lines of the table."""
    head = f"{measured['model']}: one server of all layers, {measured['machine']['cores']} cores"
    rows = [
        f"{line.what:42} {line.found:>24}  {line.goal}{'' if line.met is None else ' ' + verdict(line.met)}"
        for line in lines(measured)
    ]
    return "\n".join([head, "", *rows])


def main() -> int:
    """Run the benchmark, print the table, write the JSON file."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench_footprint",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="a few seconds of each: to see that it works")
    parser.add_argument("--json", type=Path, default=Path("build/bench_footprint.json"), metavar="FILE")
    flags = parser.parse_args()
    idle_seconds, load_seconds = (5.0, 5.0) if flags.quick else (60.0, 30.0)

    def work() -> int:
        started = time.monotonic()
        measured = measure(idle_seconds, load_seconds)
        write_json(flags.json, measured)
        print(table(measured))
        say(f"\n{time.monotonic() - started:.0f} s; every value is in {flags.json}")
        return 0 if all(line.met is not False for line in lines(measured)) else 1

    return status_of("bench_footprint", work)


if __name__ == "__main__":
    sys.exit(main())
