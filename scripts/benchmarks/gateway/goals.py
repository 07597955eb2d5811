"""The goals of bench_gateway, and its table (pure)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scripts.benchmarks.gateway.loop_lag import Lag
from scripts.benchmarks.gateway.plan import GATEWAY, GREEDY, ONE_PROCESS, PLAIN_CLIENT, SESSIONS
from scripts.benchmarks.gateway.schema import WITH, WITHOUT, all_problems
from scripts.benchmarks.shared.report import Goal, Spread, goal_lines

LEAST_SHARE = 0.9
MOST_MEGABYTES = 200.0
LEAST_SCHEMA_SHARE = 0.95
MOST_FIRST_TOKEN = 1.25
"""Beside silent connections, in the time without them: more than what the rounds differ by."""

BUSY_CORES = 0.25
"""Cores at work before a round, while all contenders wait: above this, the table warns."""

Measured = Mapping[str, Any]
Runs = Sequence[Measured]


def rates(runs: Runs) -> list[float]:
    """Tokens/s of all streams together, in each run."""
    return [run["tokens"] / run["seconds"] for run in runs]


def milliseconds_per_token(runs: Runs, which: str) -> Spread:
    """CPU time: of a process, or of what `which` names, in each run."""
    return Spread.of([1000 * run[which] / run["tokens"] for run in runs])


def ratios(values: Sequence[float], to: Sequence[float]) -> Spread:
    """The ratios of the rounds."""
    return Spread.of([one / other for one, other in zip(values, to, strict=True)])


def quantile(values: Sequence[float], share: float) -> float:
    """The least value that `share` of all don't exceed.

    >>> quantile([3.0, 1.0, 2.0, 4.0], 0.5), quantile([3.0, 1.0, 2.0, 4.0], 0.99)
    (2.0, 4.0)
    """
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def equal_texts(by_contender: Mapping[str, Runs]) -> tuple[int, int]:
    """How many texts of the gateway were compared with others', and how many of them were equal."""
    compared = equal = 0
    for contender, runs in by_contender.items():
        if contender == GATEWAY:
            continue
        for ours, theirs in zip(by_contender[GATEWAY], runs, strict=True):
            compared += len(ours["texts"])
            equal += sum(one == two for one, two in zip(ours["texts"], theirs["texts"], strict=True))
    return compared, equal


def goals_of(measured: Measured) -> list[Goal]:
    """All goals of what was measured."""
    return [
        *(_of_chats(measured["chats"]) if "chats" in measured else ()),
        *(_of_idle(measured["idle"]) if "idle" in measured else ()),
        *(_of_memory(measured["memory"]) if "memory" in measured else ()),
        *(_of_schema(measured["schema"]) if "schema" in measured else ()),
    ]


def _of_chats(chats: Measured) -> Iterator[Goal]:
    runs = chats["runs"][GREEDY]
    share = ratios(rates(runs[GATEWAY]), rates(runs[SESSIONS]))
    streams = len(runs[GATEWAY][0]["texts"])
    yield Goal(
        what=f"{streams} streams: tokens/s, of those of sessions {share.range(2)}",
        wanted=f">= {LEAST_SHARE:g}",
        found=f"{share.median:.2f}",
        is_met=share.median >= LEAST_SHARE,
    )
    for task, by_contender in chats["runs"].items():
        yield _all(f"{task}: equal texts", *equal_texts(by_contender))
        exact = chats["exact"][task]
        yield _all(f"{task}: identical tokens", exact["compared"], exact["identical"])


def _of_idle(idle: Measured) -> Iterator[Goal]:
    share = first_token_share(idle)
    yield Goal(
        what=f"beside {idle['connections']} silent connections: time to first token {share.range(2)}",
        wanted=f"<= {MOST_FIRST_TOKEN:g}",
        found=f"{share.median:.2f}",
        is_met=share.median <= MOST_FIRST_TOKEN,
    )
    alive = min(round_["alive"] for round_ in idle["rounds"])
    yield _all("silent connections that stayed open", idle["connections"], alive)


def _of_memory(memory: Measured) -> Iterator[Goal]:
    for who in (GATEWAY, PLAIN_CLIENT):
        peak = memory[who]["own"]
        yield Goal(
            what=f"{who}: most resident memory",
            wanted=f"< {MOST_MEGABYTES:g} MB",
            found=f"{peak:.0f} MB",
            is_met=peak < MOST_MEGABYTES,
        )


def _of_schema(schema: Measured) -> Iterator[Goal]:
    outputs = schema["outputs"]
    yield _all("answers that fit their JSON schema", len(outputs), len(outputs) - len(all_problems(outputs)))
    for task, ways in schema["cost"]["runs"].items():
        share = ratios(rates(ways[WITH]), rates(ways[WITHOUT]))
        yield Goal(
            what=f"{task}: tokens/s with a schema, of those without {share.range(2)}",
            wanted=f">= {LEAST_SCHEMA_SHARE:g}",
            found=f"{share.median:.2f}",
            is_met=share.median >= LEAST_SCHEMA_SHARE,
        )


def _all(what: str, number: int, of_them: int) -> Goal:
    return Goal(what=what, wanted=f"{number}", found=f"{of_them}", is_met=number == of_them and number > 0)


def first_token_share(idle: Measured) -> Spread:
    """Times to a first token beside the connections, in those without, of the rounds after the warm-up."""
    times = [round_["first_seconds"] for round_ in idle["rounds"][1:]]
    return ratios([beside for _, beside in times], [without for without, _ in times])


def lag_of(runs: Runs) -> Lag:
    """How late the gateway's loop was during these runs."""
    lag = Lag(buckets={}, seconds=0.0)
    for run in runs:
        found = run["lag"]
        lag = lag.plus(
            Lag(
                buckets={float(bound): count for bound, count in found["buckets"].items()},
                seconds=found["seconds"],
            )
        )
    return lag


def table(measured: Measured) -> str:
    """The lines of all results, goals last."""
    lines = [f"{measured['model']} in three server processes, {measured['machine']['cores']} cores", ""]
    busy = [*measured.get("chats", {}).get("busy_cores", ())]
    busy += measured.get("schema", {}).get("cost", {}).get("busy_cores", ())
    if max(busy, default=0.0) > BUSY_CORES:
        lines[1:1] = [f"! other programs kept up to {max(busy):.1f} cores busy between rounds"]
    if "chats" in measured:
        lines += [*_chat_lines(measured["chats"]), ""]
    if "idle" in measured:
        lines += [*_idle_lines(measured["idle"]), ""]
    if "memory" in measured:
        lines += [*_memory_lines(measured["memory"]), ""]
    if "schema" in measured:
        lines += [*_schema_lines(measured["schema"]), ""]
    lines += goal_lines(goals_of(measured), width=64)
    return "\n".join(lines)


def _chat_lines(chats: Measured) -> Iterator[str]:
    for task, by_contender in chats["runs"].items():
        runs = by_contender[GATEWAY]
        tokens = round(runs[0]["tokens"] / len(runs[0]["texts"]))
        title = f"{len(runs[0]['texts'])} streams of {tokens} tokens, {task}"
        yield (
            f"{title:46}{'tokens/s':>9}"
            f"{'(least, most)':>18}{'1st token p50':>15}{'p99':>8}{'CPU ms/token':>14}"
        )
        for contender in (GATEWAY, SESSIONS, ONE_PROCESS):
            if contender not in by_contender:
                continue
            found = by_contender[contender]
            spread = Spread.of(rates(found))
            first = [seconds for run in found for seconds in run["first_seconds"]]
            cpu = milliseconds_per_token(found, "cpu_seconds")
            yield (
                f"  {contender:44}{spread.median:9.1f}{spread.range():>18}{quantile(first, 0.5):13.2f} s"
                f"{quantile(first, 0.99):6.2f} s{cpu.median:14.2f}"
            )
        for other in (SESSIONS, ONE_PROCESS):
            if other in by_contender:
                share = ratios(rates(runs), rates(by_contender[other]))
                yield f"  {f'gateway / {other}':44}{share.median:9.2f}{share.range(2):>18}"
        lag = lag_of(runs)
        extra = Spread.of(
            [
                1000 * (ours["cpu_seconds"] / ours["tokens"] - theirs["cpu_seconds"] / theirs["tokens"])
                for ours, theirs in zip(runs, by_contender[ONE_PROCESS], strict=True)
            ]
        )
        yield (
            f"  CPU ms a token: {extra.median:.2f} {extra.range(2)} more than {ONE_PROCESS}; the gateway's "
            f"p2pd {milliseconds_per_token(runs, 'children_cpu_seconds').median:.2f}, "
            f"this client {milliseconds_per_token(runs, 'client_cpu_seconds').median:.2f}"
        )
        yield (
            f"  event loop late by: {1000 * lag.mean:.1f} ms in the mean, 99 % at most "
            f"{1000 * lag.at_most(0.99):g} ms, all at most {1000 * lag.at_most(1):g} ms "
            f"({lag.looks:.0f} looks)"
        )


def _idle_lines(idle: Measured) -> Iterator[str]:
    first = idle["rounds"][0]["megabytes"]
    last = idle["rounds"][-1]["megabytes"]
    yield (
        f"{idle['connections']} silent connections: the gateway has {first[0]:.0f} MB before, "
        f"{first[1]:.0f} MB beside them; in the last round {last[0]:.0f} and {last[1]:.0f} MB"
    )
    times = [round_["first_seconds"] for round_ in idle["rounds"][1:]]
    without, beside = (Spread.of([1000 * pair[place] for pair in times]) for place in (0, 1))
    yield (
        f"  one chat's first token: {without.median:.0f} ms {without.range(0)} without, "
        f"{beside.median:.0f} ms {beside.range(0)} beside them"
    )


def _memory_lines(memory: Measured) -> Iterator[str]:
    yield f"most resident memory, MB {'process':>26} {'its p2pd':>10}   loaded of torch, transformers"
    for who, found in memory.items():
        heavy = ", ".join(found["heavy"]) or "neither"
        yield f"  {who:48}{found['own']:5.0f}{found['children']:11.0f}   {heavy}"


def _schema_lines(schema: Measured) -> Iterator[str]:
    outputs = schema["outputs"]
    tokens = sorted(output["tokens"] for output in outputs)
    forms = len({output["schema"] for output in outputs})
    yield (
        f"{len(outputs)} answers to {forms} schemas: {tokens[0]} to {tokens[-1]} tokens, "
        f"{len(all_problems(outputs))} don't fit"
    )
    for task, ways in schema["cost"]["runs"].items():
        title = f"with and without a schema, {task}"
        yield f"{title:46}{'tokens/s':>9}{'(least, most)':>18}{'CPU ms/token':>14}"
        for way, runs in ways.items():
            spread, cpu = Spread.of(rates(runs)), milliseconds_per_token(runs, "cpu_seconds")
            yield f"  {way:44}{spread.median:9.1f}{spread.range():>18}{cpu.median:14.2f}"
    for line in all_problems(outputs):
        yield f"! {line}"
