"""Prints the results of bench_throughput as a table (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from scripts.benchmarks.shared.report import Spread, verdict
from scripts.benchmarks.throughput.figures import Figures, goals, ratios
from scripts.benchmarks.throughput.plan import (
    BATCHES,
    BF16,
    IDLE_STATES,
    LARGE_STREAM,
    LLAMA_CPP,
    ONE_PROCESS,
    PREFILL,
    STREAM,
    THREE_PEERS,
    batch_task,
)

BUSY_CORES = 0.25
"""Cores at work while all contenders wait: above this, the table warns. Idle servers count."""
BUSY_CONTENDER = 0.01
"""Share of a core above which a waiting contender disturbs the others."""


def table(measured: dict[str, Any]) -> str:
    """The lines of all results, goals last."""
    figures = Figures(measured)
    machine = measured["machine"]
    lines = [
        f"{measured['model'] or 'bench_throughput'}, {machine['cores']} cores ({machine['processor']}): "
        f"medians of {measured['repetitions']} rounds in turns; {measured['num_tokens']} tokens a stream",
    ]
    lines += [f"! {warning}" for warning in warnings(measured)]
    for task, title in _TASKS.items():
        if figures.contenders(task):
            lines += ["", *_rates(figures, task, title)]
    for section in (_parts(figures), _large(figures, measured), _idle(measured), _goals(figures, measured)):
        body = list(section)
        if body:
            lines += ["", *body]
    lines += ["", _texts(measured), "", *_FOOTNOTES]
    return "\n".join(lines)


def warnings(measured: dict[str, Any]) -> Iterator[str]:
    """Warnings about what may have disturbed the measurement."""
    if measured["left_out"]:
        yield measured["left_out"]
    if (busy := _busy_cores(measured)) > BUSY_CORES:
        yield f"other programs kept up to {busy:.1f} cores busy between rounds: measure again without them"
    for shares in measured["idle"].values():
        for name, share in shares["contenders"].items():
            if share["own"] + share["children"] > BUSY_CONTENDER:
                yield f"{name} used {share['own'] + share['children']:.0%} of a core while it waited"


def _busy_cores(measured: dict[str, Any]) -> float:
    return max(measured["busy_cores"], default=0.0)


_TASKS = {
    STREAM: "1 stream, tokens/s (1)",
    **{batch_task(streams): f"{streams} streams, tokens/s together (1)" for streams in BATCHES},
    PREFILL: "prefill, prompt tokens/s (2)",
}


def _rates(figures: Figures, task: str, title: str) -> Iterator[str]:
    columns = f"{'median':>8} {'(least, most)':>18} {'1st token':>10} {'x llama.cpp':>11} {'x bf16':>7}"
    yield f"{title:38} {columns}"
    for contender in figures.contenders(task):
        first = [
            run["seconds" if task == PREFILL else "first_seconds"] for run in figures.runs(task, contender)
        ]
        yield _rate_line(figures, task, contender, figures.rates(task, contender), first)
        if task == PREFILL and contender == THREE_PEERS:
            opened = [run["open_seconds"] for run in figures.runs(task, contender)]
            name = f"{contender}, route open"
            yield _rate_line(figures, task, name, figures.open_route_prefill(), opened)


def _rate_line(
    figures: Figures, task: str, name: str, rates: Sequence[float], first_seconds: Sequence[float]
) -> str:
    spread, first = Spread.of(rates), Spread.of(first_seconds)
    times = [ratios(rates, figures.rates(task, baseline)) for baseline in (LLAMA_CPP, BF16)]
    cells = ["" if found is None else f"{found.median:.2f}" for found in times]
    return (
        f"  {name:36} {spread.median:8.1f} {spread.range():>18} {1000 * first.median:7.0f} ms "
        f"{cells[0]:>11} {cells[1]:>7}"
    ).rstrip()


def _parts(figures: Figures) -> Iterator[str]:
    alone, parts = figures.one_process_parts(), figures.token_parts()
    if alone is None and parts is None:
        return
    yield "where a token's time goes, 1 stream, ms"
    if alone is not None:
        yield f"  one process: layers {alone[0]:.2f}, embedding, head and choice {alone[1]:.2f}"
    if parts is not None:
        yield (
            f"  three peers: engines {parts.engines:.2f}, waiting for them {parts.queues:.2f}, "
            f"messages and wake-ups {parts.rest:.2f}, head and generate() {parts.client:.2f}"
        )
        yield f"  one hop outside compute, p50 (3) {parts.hop.median:.3f} {parts.hop.range(3)}"


def _large(figures: Figures, measured: dict[str, Any]) -> Iterator[str]:
    bandwidth = figures.bandwidth()
    if bandwidth is None:
        return
    method, spread = bandwidth
    large = measured["large"]
    read = large["bytes_per_token"] / 1e9
    yield f"{large['model']}, {read:.3f} GB of INT8 read for a token"
    yield (
        f"  {'reading memory':36} {spread.median:8.1f} {spread.range():>18} GB/s ({method}, "
        f"{large['threads']} threads): at most {spread.median / read:.1f} tokens/s"
    )
    for contender in (ONE_PROCESS, THREE_PEERS):
        rates, share = Spread.of(figures.rates(LARGE_STREAM, contender)), figures.bound_share(contender)
        assert share is not None
        yield (
            f"  {contender:36} {rates.median:8.1f} {rates.range():>18} tokens/s (1), "
            f"{share.median:.2f} of the bound"
        )


def _idle(measured: dict[str, Any]) -> Iterator[str]:
    if not measured["idle"]:
        return
    yield f"idle over {measured['idle_seconds']:.0f} s, % of a core, busiest of the three peers"
    for state in IDLE_STATES:
        shares = measured["idle"][state]["servers"].values()
        own, children = (100 * max(share[part] for share in shares) for part in ("own", "children"))
        yield f"  {state:36} server {own:.2f}, its p2pd {children:.2f}"


def _goals(figures: Figures, measured: dict[str, Any]) -> Iterator[str]:
    title = (
        "goals" if _busy_cores(measured) <= BUSY_CORES else "goals (no verdict counts: the machine was busy)"
    )
    yield f"{title:52} {'wanted':>10} {'median':>9} {'(least, most)':>16}"
    for goal in goals(figures):
        wanted = f"{'>=' if goal.at_least else '<='} {goal.limit:g}{goal.unit}"
        if goal.found is None:
            yield f"  {goal.what:50} {wanted:>10} {'-':>9} {'':>16}  not measured"
            continue
        median = f"{goal.found.median:.2f}{goal.unit}"
        yield (
            f"  {goal.what:50} {wanted:>10} {median:>9} {goal.found.range(2):>16}  {verdict(bool(goal.met))}"
        )


def _texts(measured: dict[str, Any]) -> str:
    """Whether the texts of p2pinfer's contenders agree, task by task."""
    different = [
        task
        for task, by_contender in measured["runs"].items()
        if len({run["text"] for name, runs in by_contender.items() if "p2pinfer" in name for run in runs}) > 1
    ]
    if different:
        return f"p2pinfer's runs gave DIFFERENT texts in: {', '.join(different)}"
    return "p2pinfer's runs gave one and the same text in every task"


_FOOTNOTES = (
    "(1) After the first token; `1st token` is what the prompt and, in a swarm, opening a route take.",
    "    Greedy; no token ends a text. A ratio is the median of the rounds' ratios.",
    "(2) From the call to the next token. A swarm's call opens a route; `route open` has one already.",
    "(3) Of each token: (seconds of InferenceSession.compute - seconds in the hops' engines) / messages,",
    "    which are one more than the hops. Waiting for a server's compute thread is outside compute.",
)
