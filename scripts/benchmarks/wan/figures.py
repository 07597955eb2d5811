"""Turns what bench_wan measured into figures, each with its bound (pure).

Every bound is computed from the profile's numbers and from what was measured in the same run on the same
machine, whose processors the peers share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from scripts.benchmarks.shared.report import Spread
from scripts.benchmarks.wan.plan import (
    BATCH_GOAL,
    PEERS,
    PREFILL_GOAL,
    PROFILE,
    SEQUENCES,
    STREAM_GOAL,
    WIRE_DTYPES,
)
from scripts.lab import PROFILES

Round = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounded:
    """A figure beside the bound that judges it; `share` is the part of it that is reached, by rounds."""

    what: str
    unit: str
    found: Spread
    bound: float
    share: Spread
    goal: float | None
    how: str  # how the bound was computed
    notes: tuple[str, ...] = ()

    @property
    def met(self) -> bool | None:
        return None if self.goal is None else self.share.median >= self.goal


def figures(measured: Mapping[str, Any]) -> Iterator[Bounded]:
    """All figures, in the order of the table."""
    if measured["stream"]:
        yield stream(measured)
    if measured["batch"]:
        yield from batch(measured)
    for congestion, by_dtype in measured["prefill"].items():
        for dtype in WIRE_DTYPES:
            for which in ("first", "second"):
                own = congestion == measured["congestion"]["own"] and which == "first"
                yield prefill(measured, by_dtype[dtype], congestion, dtype, which, judged=own)


def figures_as_json(measured: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The figures with their verdicts, for a file."""
    return [asdict(figure) | {"met": figure.met} for figure in figures(measured)]


def delays_seconds(profile: str) -> float:
    """The seconds of delay on the way around the chain: client, all peers, client."""
    return (PEERS + 1) * PROFILES[profile].delay_seconds


def stream(measured: Mapping[str, Any]) -> Bounded:
    """The figure for one stream: its bound is 1 / (delays + compute + head)."""
    delays = delays_seconds(PROFILE["stream"])
    rates, bounds, engines, ends, queues = [], [], [], [], []
    for round_ in measured["stream"]:
        engine = median(step[1] for step in round_["steps"])
        queue = median(step[2] for step in round_["steps"])
        end = round_["compute"]["ends"]["1"]
        rates.append((round_["tokens"] - 1) / round_["later_seconds"])
        bounds.append(1 / (delays + engine + end))
        engines.append(engine)
        ends.append(end)
        queues.append(queue)
    link = PROFILES[PROFILE["stream"]]
    wire = (
        (PEERS + 1)
        * 8
        * measured["row_bytes"]
        * (1 / link.up_bits_per_second + 1 / link.down_bits_per_second)
    )
    token = 1000 / median(rates)
    return Bounded(
        what=f"1 stream, {PEERS} peers on {PROFILE['stream']}",
        unit="tokens/s",
        found=Spread.of(rates),
        bound=median(bounds),
        share=_shares(rates, bounds),
        goal=STREAM_GOAL,
        how=(
            f"1 / ({1000 * delays:.0f} ms of one-way delays + {_ms(engines)} in the peers' engines "
            f"+ {_ms(ends)} for embedding and head)"
        ),
        notes=(
            f"a token takes {token:.1f} ms: not in the bound are {1000 * wire:.1f} ms to put it onto the "
            f"links, {_ms(queues)} of waiting for engines, and messages",
        ),
    )


def batch(measured: Mapping[str, Any]) -> Iterator[Bounded]:
    """The figures for many sequences: against the slowest stage's limit and the lowest of all limits."""
    cores = measured["machine"]["cores"]
    link = PROFILES[PROFILE["batch"]]
    sessions = measured["sessions"]
    rows = SEQUENCES // sessions
    wire = 8 * measured["row_bytes"] * (1 / link.up_bits_per_second + 1 / link.down_bits_per_second)
    rates = [round_["tokens_per_second"] for round_ in measured["batch"]]
    stage, shared, uplink, loop = [], [], [], []
    for round_ in measured["batch"]:
        stages, ends = round_["compute"]["stages"], round_["compute"]["ends"]
        all_rows, few_rows = str(SEQUENCES), str(rows)
        stage.append(SEQUENCES / max(stages[all_rows]))
        work = sum(stages[all_rows]) + ends[all_rows]
        shared.append(SEQUENCES * min(cores, PEERS + 1) / work)
        uplink.append(link.up_bits_per_second / (8 * measured["row_bytes"]))
        around = delays_seconds(PROFILE["batch"]) + (PEERS + 1) * rows * wire
        loop.append(SEQUENCES / (around + sum(stages[few_rows]) + ends[few_rows]))
    bounds = {
        "the slowest stage": stage,
        f"{cores} cores for all stages and the client": shared,
        "an uplink": uplink,
        "the way around": loop,
    }
    lowest = min(bounds, key=lambda name: median(bounds[name]))
    steps = median(round_["step_seconds"] for round_ in measured["batch"])
    what = f"{SEQUENCES} sequences, {sessions} sessions of {rows}"
    yield Bounded(
        what=what,
        unit="tokens/s",
        found=Spread.of(rates),
        bound=median(stage),
        share=_shares(rates, stage),
        goal=BATCH_GOAL,
        how=f"slowest stage: {SEQUENCES} / its engine's step of {SEQUENCES} rows, alone, one thread",
    )
    yield Bounded(
        what="  the same, against the lowest bound",
        unit="tokens/s",
        found=Spread.of(rates),
        bound=median(bounds[lowest]),
        share=_shares(rates, bounds[lowest]),
        goal=None,
        how="the least of what each allows: "
        + ", ".join(f"{name} {median(each):.0f}" for name, each in bounds.items()),
        notes=(
            f"cores: the steps of all stages and the ends for {SEQUENCES} rows, shared among them",
            f"the way around: {SEQUENCES} / (delays + stages' and ends' steps of {rows} rows alone + their "
            f"bytes on {PEERS + 1} links); a step of a session takes {1000 * steps:.0f} ms",
        ),
    )


def prefill(
    measured: Mapping[str, Any],
    rounds: Sequence[Round],
    congestion: str,
    dtype: str,
    which: str,
    *,
    judged: bool,
) -> Bounded:
    """The figure for a prompt's seconds: its bound is its bytes on one uplink and the delays."""
    link = PROFILES[PROFILE["prefill"]]
    size = measured["prefill_bytes"][dtype]
    seconds = [round_[f"{which}_seconds"] for round_ in rounds]
    delays = delays_seconds(PROFILE["prefill"])
    on_wire = 8 * size / link.up_bits_per_second
    bound = delays + on_wire
    busiest = [max(round_["sent"].values(), key=lambda up: up["bytes"]) for round_ in rounds]
    engines = [median(each) for each in zip(*(round_["engine_seconds"] for round_ in rounds), strict=True)]
    computing = (
        f"not in the bound: computing, {', '.join(f'{each:.2f}' for each in engines)} s in the engines, "
        "part of it meanwhile"
    )
    losses = (
        f"both prompts: busiest uplink {median(up['bytes'] for up in busiest) / 1e6:.2f} MB with headers and "
        f"repeats, {median(up['lost'] for up in busiest):.0f} of "
        f"{median(up['packets'] for up in busiest):.0f} packets lost, "
        f"{median(up['overflowed'] for up in busiest):.0f} dropped by a full queue"
    )
    return Bounded(
        what=f"prefill, {dtype}, TCP {congestion}, {which} prompt",
        unit="s",
        found=Spread.of(seconds),
        bound=bound,
        share=Spread.of([bound / each for each in seconds]),
        goal=PREFILL_GOAL if judged else None,
        how=(
            f"{size / 1e6:.3f} MB at {link.up_bits_per_second / 1e6:g} Mbit/s ({on_wire:.3f} s) + "
            f"{1000 * delays:.0f} ms of one-way delays"
        ),
        notes=(computing, losses) if which == "first" else (),
    )


def _shares(found: Sequence[float], bounds: Sequence[float]) -> Spread:
    return Spread.of([one / bound for one, bound in zip(found, bounds, strict=True)])


def _ms(seconds: Sequence[float]) -> str:
    return f"{1000 * median(seconds):.1f} ms"
