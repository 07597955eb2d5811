"""`wan_lab check`: do the lab's links do what their profiles say, on this machine?

A host with the profile's link exchanges traffic with another host. The other host's link has the same delay,
jitter and loss, but is fast in both directions, so only the measured host's rates limit the traffic.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.lab.errors import LabError
from scripts.lab.ground.namespaces import MTU_BYTES
from scripts.lab.hosts import LabHost
from scripts.lab.lab import WanLab
from scripts.lab.links import Link
from scripts.lab.probe import READY

PROBE = Path(__file__).with_name("probe.py")
FAST_BITS_PER_SECOND = 1e9
PINGS = 80
PING_INTERVAL_SECONDS = 0.02
STREAM_SECONDS = 5.0
WARM_UP_SECONDS = 2.0
FLOOD_SECONDS = 2.0
FLOOD_RATIO = 1.3
COUNTED_BYTES = 100
COUNTED_PACKETS = 8000
COUNTED_PER_SECOND = 4000
PROBE_SECONDS = 60.0

UDP_HEADER_BYTES = 28  # of IPv4 and UDP
TCP_HEADER_BYTES = 52  # of IPv4 and TCP, with the time stamps that Linux adds
TCP_PAYLOAD_SHARE = (MTU_BYTES - TCP_HEADER_BYTES) / MTU_BYTES
ROUND_TRIP_TOLERANCE = 0.1
ROUND_TRIP_SLACK_SECONDS = 1.5e-3
"""The time that a sleeping processor takes to wake up six times: twice for a program and four times for the
router. On the lab's first machine that took 0.5 to 1 ms in all, 0.2 ms of it without a lab. Every profile has
this delay, also `lan`."""
RATE_TOLERANCE = 0.1
FAST_RATE_TOLERANCE = 0.5
"""The tolerance from FAST_BITS_PER_SECOND on: there the sender, the receiver and the router of 83,000 packets
per second share this machine's cores. A link this fast only has to be no bottleneck."""
LOSS_STANDARD_ERRORS = 4
LOSS_SLACK = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One number of a profile, nominal and measured. `unit` is the unit of all its values."""

    what: str
    unit: str
    nominal: float
    measured: float
    least: float
    most: float

    @property
    def met(self) -> bool:
        """True if the measured value is within the tolerance."""
        return self.least <= self.measured <= self.most


def judge_round_trip(link: Link, seconds: float) -> Finding:
    """Judge the median of UDP round trips, in ms."""
    nominal = 2 * link.delay_seconds
    # The median of PINGS draws from +-jitter lies well within a third of it.
    slack = ROUND_TRIP_TOLERANCE * nominal + ROUND_TRIP_SLACK_SECONDS + link.jitter_seconds / 3
    return Finding(
        what="round trip",
        unit="ms",
        nominal=1e3 * nominal,
        measured=1e3 * seconds,
        least=1e3 * nominal * (1 - ROUND_TRIP_TOLERANCE) - 1e3 * link.jitter_seconds / 3,
        most=1e3 * (nominal + slack),
    )


def judge_rate(
    what: str, link_bits_per_second: float, bits_per_second: float, *, full: bool = True
) -> Finding:
    """Judge the bits of packets, headers included, in Mbit/s. Without `full`, a slower rate is accepted."""
    nominal = link_bits_per_second / 1e6
    tolerance = RATE_TOLERANCE if link_bits_per_second < FAST_BITS_PER_SECOND else FAST_RATE_TOLERANCE
    return Finding(
        what=what,
        unit="Mbit/s",
        nominal=nominal,
        measured=bits_per_second / 1e6,
        least=nominal * (1 - tolerance) if full else 0.0,
        most=nominal * (1 + RATE_TOLERANCE),
    )


def judge_loss(link: Link, sent: float, arrived: float) -> Finding:
    """Judge the UDP packets that didn't arrive, in percent."""
    error = math.sqrt(link.loss * (1 - link.loss) / sent)
    slack = LOSS_STANDARD_ERRORS * error + LOSS_SLACK
    return Finding(
        what="loss",
        unit="%",
        nominal=100 * link.loss,
        measured=100 * (1 - arrived / sent),
        least=100 * (link.loss - slack),
        most=100 * (link.loss + slack),
    )


def measure(link: Link, *, seed: int = 0) -> Iterator[Finding]:
    """Build a lab of two hosts and yield each finding when it is measured. Raises LabError."""
    fast = dataclasses.replace(
        link, up_bits_per_second=FAST_BITS_PER_SECOND, down_bits_per_second=FAST_BITS_PER_SECOND
    )
    with WanLab(seed=seed) as lab:
        home, server = lab.add_host("home", link), lab.add_host("server", fast)
        with serving(home), serving(server):
            trips = run_probe(home, "ping", server, PINGS, PING_INTERVAL_SECONDS)
            if not trips["answered"]:
                raise LabError("no packet came back from a host of the lab")
            yield judge_round_trip(link, trips["median_seconds"])
            for what, sender, receiver, rate in (
                ("up", home, server, link.up_bits_per_second),
                ("down", server, home, link.down_bits_per_second),
            ):
                tcp = run_probe(sender, "stream", receiver, STREAM_SECONDS, WARM_UP_SECONDS)
                # Where packets are lost, congestion control limits TCP, so UDP measures the link's rate.
                payload = tcp["bits_per_second"] / TCP_PAYLOAD_SHARE
                yield judge_rate(f"{what}, TCP", rate, payload, full=link.loss == 0)
                if link.loss:
                    yield judge_rate(f"{what}, UDP", rate, _flood(sender, receiver, rate))
            counted = [
                run_probe(one, "count", other, COUNTED_PACKETS, COUNTED_PER_SECOND, COUNTED_BYTES)
                for one, other in ((home, server), (server, home))
            ]
            sent = sum(part["sent"] for part in counted)
            yield judge_loss(link, sent, sum(part["arrived"] for part in counted))


def _flood(sender: LabHost, receiver: LabHost, bits_per_second: float) -> float:
    """The rate at which packets leave a link that gets more packets than it can carry."""
    per_second = FLOOD_RATIO * bits_per_second / 8 / MTU_BYTES
    packets = int(per_second * FLOOD_SECONDS)
    found = run_probe(sender, "count", receiver, packets, per_second, MTU_BYTES - UDP_HEADER_BYTES)
    return (found["arrived"] - 1) * MTU_BYTES * 8 / found["seconds"] if found["seconds"] else 0.0


def table_head(profiles: Mapping[str, Link]) -> str:
    """The profiles, and the columns' names."""
    lines = [f"{name:12} {link.describe()}" for name, link in profiles.items()]
    return "\n".join([*lines, "", f"{'profile':12} {'':10} {'nominal':>9} {'measured':>9}  tolerated"])


def table_row(profile: str, finding: Finding) -> str:
    """One finding."""
    tolerated = f"{finding.least:.2f} to {finding.most:.2f} {finding.unit}"
    return (
        f"{profile:12} {finding.what:10} {finding.nominal:9.2f} {finding.measured:9.2f}  {tolerated:25} "
        f"{'ok' if finding.met else 'OFF'}"
    )


@contextlib.contextmanager
def serving(host: LabHost) -> Iterator[None]:
    """Run the answering end on a host; it is ready when the block begins, and is killed at its end."""
    command = [*host.prefix, sys.executable, str(PROBE), "serve", host.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            if process.stdout.readline().strip() != READY:
                raise LabError(f"the probe on {host.name} ended before it was ready")
            yield
        finally:
            process.kill()


def run_probe(sender: LabHost, mode: str, receiver: LabHost, *numbers: float) -> dict[str, float]:
    """What probe.py measured on the sender. Raises LabError with the probe's message if it failed."""
    command = [*sender.prefix, sys.executable, str(PROBE), mode, receiver.address, *map(str, numbers)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PROBE_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise LabError(f"the probe {mode!r} took longer than {PROBE_SECONDS:.0f} s") from error
    except subprocess.CalledProcessError as error:
        raise LabError(f"the probe {mode!r} failed:\n{error.stderr}") from error
    values: dict[str, float] = json.loads(result.stdout)
    return values
