"""Prints the results of bench_documents as a table (pure)."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from scripts.benchmarks.documents.goals import (
    Measured,
    goals_of,
    network_bounds,
    network_share,
    rates,
    ratio,
)
from scripts.benchmarks.documents.plan import (
    ALONE,
    BESIDE,
    LLAMA_CPP,
    LLAMA_CPP_SHARED,
    NETWORK,
    THREE_PEERS,
    WIRE_DTYPES,
    WITHOUT_REUSE,
)
from scripts.benchmarks.shared.report import Spread, goal_lines

BUSY_CORES = 0.25
"""Cores at work before a round, while all contenders wait: above this, the table warns."""

_GOAL_WIDTH = 64


def table(measured: Measured) -> str:
    """The lines of all results, goals last."""
    lines = [f"{measured['model']}, {measured['machine']['cores']} cores", *_warnings(measured), ""]
    for part, section in _SECTIONS.items():
        if measured.get(part):
            lines += [*section(measured), ""]
    if goals := goals_of(measured):
        lines += goal_lines(goals, width=max(_GOAL_WIDTH, *(len(goal.what) for goal in goals)))
    return "\n".join(lines).rstrip()


def _warnings(measured: Measured) -> Iterator[str]:
    busy = max(measured.get("speed", {}).get("busy_cores", ()), default=0.0)
    if busy > BUSY_CORES:
        yield f"! other programs kept up to {busy:.1f} cores busy between rounds: measure again without them"
    yield from (f"! {line}" for line in measured["left_out"])


def _speed(measured: Measured) -> Iterator[str]:
    runs = measured["speed"]["runs"]
    count = runs[THREE_PEERS][0]["documents"]
    yield (
        f"{f'{count} documents a round':34}{'documents/s':>12}{'(least, most)':>18}"
        f"{'x llama.cpp':>12}{'x shared':>9}{'CPU s each':>11}{'cached':>8}"
    )
    for contender, found in runs.items():
        spread = Spread.of(rates(found))
        plain, shared = (ratio(runs, contender, other) for other in (LLAMA_CPP, LLAMA_CPP_SHARED))
        cpu = statistics.median(
            (run["cpu_seconds"] + run.get("servers_cpu_seconds", 0.0)) / run["documents"] for run in found
        )
        cached = (
            f"{found[0]['cached_tokens'] / found[0]['prompt_tokens']:8.0%}"
            if "cached_tokens" in found[0]
            else ""
        )
        yield (
            f"  {contender:32}{spread.median:12.2f}{spread.range(2):>18}{_cell(plain):>12}{_cell(shared):>9}"
            f"{cpu:11.2f}{cached}"
        ).rstrip()
    for name in (THREE_PEERS, WITHOUT_REUSE):
        if name in runs:
            yield f"  steps of {name}: {_steps(runs[name][0])}"
    for is_shared in (False, True):
        trials = [one for one in measured["speed"]["tuning"] if bool(one["shared"]) == is_shared]
        if trials:
            best = dict(max(trials, key=lambda trial: trial["documents_per_second"]))
            prefix, rate = best.pop("shared"), best.pop("documents_per_second")
            words = ", ".join(f"{name} {value}" for name, value in best.items())
            yield (
                f"  llama.cpp, {prefix or 'no'} tokens shared: the fastest of {len(trials)} settings, "
                f"{rate:.2f} documents/s: {words}"
            )


def _steps(run: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{kind} {counted['steps']:.0f} of {counted['tokens'] / counted['steps']:.1f} tokens"
        for kind, counted in run["steps"].items()
        if counted.get("tokens")
    )


def _network(measured: Measured) -> Iterator[str]:
    network = measured[NETWORK]
    count = network["runs"][WIRE_DTYPES[0]][0]["documents"]
    title = f"{NETWORK} ({network['link']}), {count} documents"
    yield (
        f"{title:52}{'documents/s':>12}{'(least, most)':>18}"
        f"{'stage':>8}{'uplink':>8}{'cores':>8}{'of least two':>14}"
    )
    for dtype in WIRE_DTYPES:
        found, bounds = Spread.of(rates(network["runs"][dtype])), network_bounds(measured, dtype)
        yield (
            f"  {dtype:50}{found.median:12.2f}{found.range(2):>18}{bounds.stage:8.2f}{bounds.uplink:8.2f}"
            f"{bounds.cores:8.2f}{network_share(measured, dtype).median:14.2f}"
        )
    yield "  stage: the slowest stage's engine alone, one thread; uplink: a document's bytes on the busiest;"
    yield "  cores: all stages and the client's ends share this machine's cores (not in the goal)"


def _kills(measured: Measured) -> Iterator[str]:
    kills = measured["kills"]
    dealt = ", ".join(f"{count} of a {who}" for who, count in kills["dealt"].items())
    yield (
        f"SIGKILLs beside {kills['documents']} documents: {dealt}; {kills['seconds']:.0f} s, "
        f"undisturbed {kills['undisturbed']['seconds']:.0f} s"
    )


def _memory(measured: Measured) -> Iterator[str]:
    memory = measured["memory"]
    limit = "limited to 1 GB" if memory["is_limited"] else "no limit: no control group can be made here"
    title = f"a job of {memory['documents']} documents, {limit}"
    yield f"{title:60}{'runner':>10}{'its p2pd':>10}"
    for share, peak in sorted(memory["peaks"].items(), key=lambda item: float(item[0])):
        yield (
            f"  {f'most resident memory at {float(share):.0%} of the job':58}{peak:7.0f} MB"
            + (f"{daemon:7.0f} MB" if (daemon := memory["daemon_peaks"][share]) else f"{'ended':>10}")
        )
    yield (
        f"  `status` meanwhile: {max(memory['status_seconds']):.1f} s; {memory['long_input']} lines: first "
        f"answer after {memory['start_seconds']:.1f} s, `status` {memory['long_status_seconds']:.1f} s"
    )


def _interactive(measured: Measured) -> Iterator[str]:
    chats = measured["interactive"]
    title = f"a chat, {len(chats[ALONE])} times; {chats['texts_in_rows']} texts of the job have rows"
    yield f"{title:60}{'first token':>13}{'most':>9}{'gap':>9}{'99 %':>9}"
    for when in (ALONE, BESIDE):
        first = [chat["first_seconds"] for chat in chats[when]]
        gaps = sorted(gap for chat in chats[when] for gap in chat["gaps"])
        yield (
            f"  {when:58}{statistics.median(first):11.2f} s{max(first):7.2f} s"
            f"{1000 * statistics.median(gaps):6.0f} ms{1000 * gaps[int(0.99 * (len(gaps) - 1))]:6.0f} ms"
        )
    if chats["job_ended_early"]:
        yield "  ! the job ended before the last chat did"


def _cell(found: Spread | None) -> str:
    return "" if found is None else f"{found.median:.2f}"


_SECTIONS = {
    "speed": _speed,
    NETWORK: _network,
    "kills": _kills,
    "memory": _memory,
    "interactive": _interactive,
}
