"""`wan_lab run`: commands on hosts, their output after their host's name, and orders from standard input."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from p2pinfer.errors import UsageError
from scripts.lab.counters import DirectionCounters, HostCounters
from scripts.lab.errors import LabError
from scripts.lab.lab import WanLab
from scripts.lab.words import (
    Count,
    Cut,
    HostSpec,
    Order,
    Quit,
    Reboot,
    Shape,
    environment,
    fill_in,
    parse_order,
)

GRACE_SECONDS = 10.0
POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line that a command printed; None when its output has ended."""

    name: str
    text: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """A line of standard input."""

    text: str


def run(specs: Sequence[HostSpec], *, seed: int) -> int:
    """Run until all commands have ended or `quit`; returns 0 if all ended with status 0 or were told to end.

    Raises LabError, also when the router ends; KeyboardInterrupt is raised after everything has ended.
    """
    news: queue.Queue[Line | Typed] = queue.Queue()
    with WanLab(seed=seed) as lab:
        running = _start(lab, specs, news)
        threading.Thread(target=_read_orders, args=(news,), daemon=True).start()
        failed = False
        try:
            while running:
                lab.check()
                with suppress(queue.Empty):
                    item = news.get(timeout=POLL_SECONDS)
                    if isinstance(item, Line):
                        if item.text is not None:
                            _say(item.name, item.text)
                            continue
                        status = running.pop(item.name).wait()
                        failed |= status != 0
                        _say(item.name, f"ended with status {status}")
                    elif _obey(lab, item.text):
                        break
        finally:
            _end(running.values())
            while not news.empty():  # the last lines of the commands
                item = news.get()
                if isinstance(item, Line) and item.text is not None:
                    _say(item.name, item.text)
    return int(failed)


def _start(
    lab: WanLab, specs: Sequence[HostSpec], news: queue.Queue[Line | Typed]
) -> dict[str, subprocess.Popen[str]]:
    """Make all hosts first, so that every command knows every address."""
    hosts = {spec.name: lab.add_home(spec.name, spec.link, spec.router) for spec in specs}
    addresses = {name: host.address for name, host in hosts.items()}
    running = {}
    for spec in specs:
        command = fill_in(spec.command, addresses)
        place = addresses[spec.name]
        if (router := lab.router_of(spec.name)) is not None:
            place += f" behind {router.public_address} ({spec.router.value})"
        _say(spec.name, f"{place}, {spec.link.describe()}: {command}")
        running[spec.name] = process = subprocess.Popen(
            [*hosts[spec.name].prefix, "/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=os.environ | environment(spec.name, addresses),
            start_new_session=True,  # Ctrl-C is for the lab, which ends the commands
        )
        threading.Thread(target=_read_output, args=(spec.name, process, news), daemon=True).start()
    return running


def _read_output(name: str, process: subprocess.Popen[str], news: queue.Queue[Line | Typed]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        news.put(Line(name=name, text=line.rstrip("\n")))
    news.put(Line(name=name, text=None))


def _read_orders(news: queue.Queue[Line | Typed]) -> None:
    for line in sys.stdin:
        news.put(Typed(text=line))


def _obey(lab: WanLab, text: str) -> bool:
    """Do what was typed, and report it; True for quit. A mistake is answered, and changes nothing."""
    try:
        order = parse_order(text)
        if isinstance(order, Quit):
            return True
        if order is not None:
            _carry_out(lab, order)
            _say("lab", text.strip())
    except (UsageError, LabError) as error:
        lab.check()
        _say("lab", str(error))
    return False


def _carry_out(lab: WanLab, order: Order) -> None:
    match order:
        case Cut(name=name, direction=direction, heal=True):
            lab.heal(lab.link_of(name), direction)
        case Cut(name=name, direction=direction):
            lab.cut(lab.link_of(name), direction)
        case Shape(name=name, link=link):
            lab.shape(lab.link_of(name), link)
        case Reboot(name=name):
            router = lab.router_of(name)
            if router is None:
                raise LabError(f"{name} is behind no router")
            router.reboot()
            _say("lab", f"{name} is now behind {router.public_address}")
        case Count():
            for line in counters_table(lab.counters()):
                _say("lab", line)


def counters_table(counters: dict[str, HostCounters]) -> list[str]:
    """The counters for users, two lines per host."""
    columns = ("packets", "bytes", "lost", "overflowed", "cut", "unroutable")

    def numbers(counted: DirectionCounters) -> str:
        return " ".join(f"{getattr(counted, column):>12}" for column in columns)

    lines = [" ".join([f"{'':18}", *(f"{column:>12}" for column in columns)])]
    for name, both in counters.items():
        lines += [f"{name:12} up    {numbers(both.up)}", f"{name:12} down  {numbers(both.down)}"]
    return lines


def _end(processes: Iterable[subprocess.Popen[str]]) -> None:
    """Ask every command to end; commands that don't end in time are killed with the lab."""
    left = list(processes)
    for process in left:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    for process in left:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))


def _say(name: str, text: str) -> None:
    print(f"[{name}] {text}", flush=True)
