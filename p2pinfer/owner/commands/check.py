"""`python -m p2pinfer.owner check`: list the mistakes in a policy file, or say what it means."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from p2pinfer.owner.files import OwnerFiles
from p2pinfer.owner.policy.certainty import describe_source
from p2pinfer.owner.policy.conditions import Action, Condition, InUse
from p2pinfer.owner.policy.policy import Policy
from p2pinfer.owner.policy.policy_file import load_policy
from p2pinfer.owner.policy.sources_file import SERVER_SIGNALS
from p2pinfer.owner.policy.verdict import decide
from p2pinfer.owner.signals.readings import Reading, Signal
from p2pinfer.owner.zone import local_zone
from p2pinfer.plain_text import printable

if TYPE_CHECKING:  # the libraries of the sources are loaded only to ask them
    from p2pinfer.owner.signals.sources.asking import Heard

HELP = "find mistakes in the policy file, say what it means, and ask its sources once"

_CONDITION_WORDS: Mapping[Condition, Callable[[Policy], str]] = {
    Condition.PARKED: lambda policy: "the car is parked",
    Condition.PLUGGED_IN: lambda policy: "it is plugged in",
    Condition.UNMETERED: lambda policy: "the network is unmetered",
    Condition.WIFI: lambda policy: f"the Wi-Fi is {_one_of(policy.wifi)}",
    Condition.PLACES: lambda policy: f"it is at {_one_of(policy.places)}",
    Condition.HOURS: lambda policy: f"it is {_one_of([str(window) for window in policy.hours])}",
    Condition.MAX_PRICE: lambda policy: f"a kWh costs at most {policy.max_price:g} {policy.currency}",
    Condition.BATTERY_FLOOR_PERCENT: lambda policy: (
        f"the battery is at {policy.battery_floor_percent:g} % or more, "
        f"and at {policy.battery_begin_percent:g} % to begin"
    ),
    Condition.BATTERY_MAX_CELSIUS: lambda policy: (
        f"the battery has at most {policy.battery_max_celsius:g} °C, "
        f"and {policy.battery_begin_celsius:g} °C to begin"
    ),
    Condition.MACHINE_MAX_CELSIUS: lambda policy: (
        f"the machine has at most {policy.machine_max_celsius:g} °C, "
        f"and {policy.machine_begin_celsius:g} °C to begin"
    ),
    Condition.MONTHLY_TRAFFIC_GB: lambda policy: (
        f"this month's traffic is less than {policy.monthly_traffic_gb:g} GB"
    ),
    Condition.EXCLUSIVE_PROGRAMS: lambda policy: _none_runs(policy.exclusive_programs),
    Condition.IN_USE: lambda policy: "nobody uses it",
}
_ENDS = {Action.DRAIN: "other servers take over", Action.STOP: "stops at once"}
_OTHERS = 0o077  # permissions of group and others


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE",
        help="the policy file (default: policy.toml in the data folder)",
    )
    parser.add_argument(
        "--no-ask",
        dest="ask",
        action="store_false",
        help="don't ask the sources of signals, and run none of the commands that the file names",
    )


def run(args: argparse.Namespace) -> int:
    """Print what the file means, and what its sources say now. Raises UsageError with all mistakes."""
    path: Path = args.file.expanduser() if args.file else OwnerFiles(args.data_folder).policy
    policy = load_policy(path)
    print(f"{printable(path.name)} has no mistakes.\n")
    for line in (*_conditions(policy), *_settings(policy), *_listening(policy), *_remarks(path, policy)):
        print(line)
    if args.ask and policy.signals.sources:
        sys.stdout.flush()  # asking may take some seconds
        for line in _heard(policy):
            print(line)
    return 0


def _conditions(policy: Policy) -> Iterator[str]:
    rows = [
        (_CONDITION_WORDS[condition](policy), f"else: {_ENDS[policy.action_of(condition)]}")
        for condition in policy.conditions()
        if condition is not Condition.IN_USE or policy.in_use is not InUse.LIMIT
    ]
    if rows:
        yield "It works only while"
        yield from _columns(rows)
    else:
        yield "It always works: no condition is in use."
    if policy.needed_signals():
        yield f"A signal without news for {policy.stale_seconds:g} s isn't known, and stops it at once."


def _settings(policy: Policy) -> Iterator[str]:
    if policy.in_use is InUse.LIMIT:
        share = min(policy.cpu_share, policy.cpu_share_in_use)
        yield f"While somebody uses the machine, it takes at most {100 * share:.3g} % of the processors,"
        yield "and also while nothing tells whether somebody does."
    watts = "" if policy.max_watts is None else f", and the machine draws at most {policy.max_watts:g} W"
    yield f"It takes at most {100 * policy.cpu_share:.3g} % of the processors{watts}."
    yield _sharing_words(policy)
    yield _relaying_words(policy)
    yield f"Other servers have {policy.drain_seconds:g} s to take over."
    yield f"A kWh costs {_tariff_words(policy)}."
    yield f"Without a measurement, energy is estimated: {policy.watts_per_core:g} W for a busy core."
    if Signal.WATTS in policy.signals.sources:
        yield f"Of what the meter shows, {policy.idle_watts:g} W are the idle machine's."


def _sharing_words(policy: Policy) -> str:
    sharing = policy.sharing
    if not sharing.enabled or sharing.monthly_gb == 0:
        return "It gives no files of its layers to others."
    limits = []
    if sharing.monthly_gb is not None:
        limits.append(f"{sharing.monthly_gb:g} GB a month")
    if sharing.mbit_per_s is not None:
        limits.append(f"{sharing.mbit_per_s:g} Mbit/s")
    most = f", at most {' and '.join(limits)}" if limits else ""
    return f"It gives the files of its layers to others{most}, but never while clients wait."


def _relaying_words(policy: Policy) -> str:
    relaying = policy.relaying
    if not relaying.enabled or relaying.monthly_gb == 0:
        return "It passes nothing on between others whose routers let nobody in."
    most = f"at most {relaying.monthly_gb:g} GB a month and {relaying.mbit_per_s:g} Mbit/s"
    return f"While others can reach it, it passes traffic on between those who can't be reached, {most}."


def _tariff_words(policy: Policy) -> str:
    tariff = policy.tariff
    if tariff.from_signal:
        return f"what the signal `price` says, in {policy.currency}"
    if tariff.price is None:
        return "an unknown amount: statements show no costs"
    hours = "".join(f", {hours.window}: {hours.price:g} {policy.currency}" for hours in tariff.hours)
    return f"{tariff.price:g} {policy.currency}{hours}"


def _listening(policy: Policy) -> Iterator[str]:
    rows = [
        (str(signal), printable(describe_source(source)))
        for signal, source in sorted(policy.signals.sources.items())
    ]
    rows += [(str(signal), "the server counts it") for signal in SERVER_SIGNALS & policy.needed_signals()]
    if rows:
        yield ""
        yield "It listens to"
        yield from _columns(rows)
    broker, home_assistant = policy.signals.mqtt, policy.signals.home_assistant
    if broker is not None:
        tls = ", by TLS" if broker.tls else ""
        user = f", as {printable(broker.username)}" if broker.username else ""
        yield f"  mqtt is the broker {printable(broker.host)}, port {broker.port}{user}{tls}"
    if home_assistant is not None:
        yield f"  home_assistant is {printable(home_assistant.shown_url)}"


def _remarks(path: Path, policy: Policy) -> Iterator[str]:
    """What isn't a mistake, but unsafe."""
    broker, home_assistant = policy.signals.mqtt, policy.signals.home_assistant
    secrets = (broker.password if broker else "", home_assistant.token if home_assistant else "")
    text = path.read_text("utf-8-sig")
    if path.stat().st_mode & _OTHERS and any(secret and secret in text for secret in secrets):
        yield ""
        yield f"Other users of this machine can read the secrets in it. To prevent that: chmod 600 {path}"


def _heard(policy: Policy) -> Iterator[str]:
    """What the sources say now, and what follows."""
    from p2pinfer.owner.signals.sources.asking import ask_once

    heard = asyncio.run(ask_once(policy.signals))
    yield ""
    yield "Its sources, asked now, say"
    yield from _columns(
        [(str(signal), _answer_of(signal, heard, policy)) for signal in sorted(policy.signals.sources)]
    )
    # The server counts its traffic; here it is taken for none.
    own = {signal: Reading(value=0.0, at=time.time()) for signal in SERVER_SIGNALS}
    verdict = decide(
        policy,
        {**heard.readings, **own},
        now=time.time(),
        zone=local_zone(),
        running=False,
        troubles=heard.troubles,
    )
    yield ""
    if verdict.action is Action.RUN:
        share = f"{100 * verdict.limits.cpu_share:.3g} % of the processors"
        yield f"By these rules it would work now, with at most {share}."
    else:
        yield "By these rules it would not work now:"
        yield from (f"  {cause.words}" for cause in verdict.causes)


def _answer_of(signal: Signal, heard: Heard, policy: Policy) -> str:
    if (reading := heard.readings.get(signal)) is not None:
        return reading.words or printable(str(reading.value))
    trouble = heard.troubles.get(signal)
    why = "no answer in time" if trouble is None else f"{trouble.words} ({trouble.origin})"
    limit = ", so the limit holds" if signal is Signal.IN_USE and policy.in_use is InUse.LIMIT else ""
    return f"not known: {printable(why, 300)}{limit}"


def _none_runs(programs: Sequence[str]) -> str:
    if len(programs) == 1:
        return f"{printable(programs[0])} doesn't run"
    return f"neither {' nor '.join(printable(program) for program in programs)} runs"


def _one_of(words: Sequence[str]) -> str:
    return " or ".join(printable(word) for word in words)


def _columns(rows: list[tuple[str, str]]) -> Iterator[str]:
    width = max(len(left) for left, _ in rows)
    return (f"  {left:<{width}}   {right}" for left, right in rows)
