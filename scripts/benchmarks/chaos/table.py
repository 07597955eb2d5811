"""Prints the results of bench_chaos as a table (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from scripts.benchmarks.chaos.faults import FaultKind
from scripts.benchmarks.chaos.figures import Figures, goals, percentile
from scripts.benchmarks.chaos.hostility import Hostility
from scripts.benchmarks.chaos.servers import REPLICAS, STAGES
from scripts.benchmarks.shared.report import verdict


def table(figures: Figures) -> str:
    """The lines of all results, goals last."""
    measured = figures.measured
    machine = measured["machine"]
    lines = [
        f"{measured['model']}, {machine['cores']} cores ({machine['processor']}), {measured['network']}: "
        f"{STAGES} stages with {REPLICAS} servers each, {len(measured['clients'])} sessions, "
        f"{measured['seconds'] / 60:g} minutes, a fault every {measured['every_seconds']:g} s, "
        f"seed {measured['seed']}",
        "",
        *_texts(figures),
        "",
        *_stalls(figures),
        *_hostility(figures),
        "",
        *_goals(figures),
        "",
        *_FOOTNOTES,
    ]
    return "\n".join(lines)


def _texts(figures: Figures) -> Iterator[str]:
    done, failed = figures.done, figures.failed
    ways = ", ".join(
        f"{sum(generation.way == way for generation in done)} {words}"
        for way, words in (("plain", "alone"), ("batch", "of 2 or 3"), ("kept", "in several calls"))
    )
    yield f"{'generations':20} {len(done)} done ({ways}), {len(failed)} failed"
    share = 100 * figures.identical / figures.compared if figures.compared else 0.0
    yield (
        f"{'tokens':20} {figures.compared} compared, {figures.identical} identical ({share:.6g} %) "
        "to the undisturbed run"
    )
    replayed = sum(generation.replayed for generation in figures.generations)
    replaced = sum(generation.replaced for generation in figures.generations)
    yield f"{'replayed':20} {replayed} tokens, to {replaced} servers that took another's place"
    for first, words in ((False, "between two tokens"), (True, "until a first token")):
        seconds = figures.gap_seconds(first=first)
        if seconds:
            yield (
                f"{words:20} {1000 * median(seconds):.0f} ms (median); of any session at any time at most "
                f"{max(seconds):.2f} s"
            )
    for generation in failed:
        yield f"! session {generation.client}, {generation.way}: {generation.error}"
    for problem in figures.problems:
        yield f"! {problem}"


def _stalls(figures: Figures) -> Iterator[str]:
    columns = f"{'faults':>7} {'in use':>7} {'sessions hit':>13} {'p50':>8} {'p99':>8} {'max':>8}"
    yield f"{'stalls, s (1)':20} {columns}"
    for kind in figures.kinds():
        yield _stall_line(figures, kind)


def _stall_line(figures: Figures, kind: FaultKind) -> str:
    seconds = [stall.gap.excess for stall in figures.stalls_of(kind)]
    cells = [f"{percentile(seconds, share):8.2f}" if seconds else f"{'-':>8}" for share in (0.5, 0.99, 1)]
    return (
        f"  {kind.value:18} {figures.count(kind):7} {figures.in_use(kind):7} {len(seconds):13} "
        f"{' '.join(cells)}"
    )


def _hostility(figures: Figures) -> Iterator[str]:
    found = Hostility.of(figures.measured)
    if not found.hostile:
        return
    kinds = ", ".join(one["malice"] for one in figures.measured["hostile"])
    yield ""
    yield f"{'hostile servers':20} {found.hostile} of {STAGES * REPLICAS}: {kinds}"
    for percent, words in ((found.first_minute_percent, "first"), (found.later_percent, "later")):
        share = "-" if percent is None else f"{percent:.2f} %"
        yield f"  {'of the steps':18} {share:>8} {'in the first minute' if words == 'first' else 'later'}"
    if found.pauses:
        cells = [f"{percentile(found.pauses, share):.2f}" for share in (0.5, 0.99, 1)]
        yield f"  {'longest pauses, s':18} p50 {cells[0]}, p99 {cells[1]}, max {cells[2]} (of a call)"


def _goals(figures: Figures) -> Iterator[str]:
    yield f"{'goals':62} {'wanted':>8} {'found':>8}"
    share = 100 * figures.identical / figures.compared if figures.compared else 0.0
    yield f"  {'failed generations':60} {'0':>8} {len(figures.failed):8}  {verdict(not figures.failed)}"
    yield (
        f"  {'identical tokens':60} {'100 %':>8} {share:6.4g} %  "
        f"{verdict(figures.identical == figures.compared > 0)}"
    )
    for goal in (*goals(figures), *Hostility.of(figures.measured).goals()):
        wanted = f"<= {goal.limit:g}{goal.unit}"
        if goal.found is None:
            yield f"  {goal.what:60} {wanted:>8} {'-':>8}  not measured"
        else:
            found = f"{goal.found:.2f}{goal.unit}"
            yield f"  {goal.what:60} {wanted:>8} {found:>8}  {verdict(bool(goal.met))}"


_FOOTNOTES = (
    "(1) Of each session whose route had the server when the fault began: the longest gap between two of",
    "    its tokens, or before a first one, less the median gap of the same generate() call (before a first",
    "    token: of all such gaps), from the fault until the session has another server in its place, or the",
    "    fault is over. p99 by nearest rank: of fewer than 100 stalls it is the longest.",
)
