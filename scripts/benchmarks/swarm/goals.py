"""The goals of bench_swarm, and its table (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from scripts.benchmarks.shared.report import Goal, goal_lines
from scripts.benchmarks.swarm.balance import (
    compared,
    computed,
    errors,
    imbalance,
    replaced,
    tokens_per_second,
)
from scripts.benchmarks.swarm.churn import CAME_BACK
from scripts.benchmarks.swarm.load import ALONE, SHARED
from scripts.benchmarks.swarm.members import NUM_LAYERS

SPREAD_SECONDS = 5.0
"""From the last server's claim until every layer is settled."""
MENDED_SECONDS = 60.0
"""From the death of half of all servers until every layer is served again."""
MOST_IMBALANCE = 1.3
LEAST_SHARE = 0.85

_EVEN_PART = 0.75
"""Of the servers that each layer would have if they were spread evenly: three of four."""

Measured = Mapping[str, Any]


def least_servers(servers: int, num_layers: int) -> int:
    """How many servers each layer should have after so many have joined at once.

    >>> least_servers(6, 30), least_servers(12, 30), least_servers(40, 30)
    (1, 3, 10)
    """
    return max(1, int(_EVEN_PART * servers * NUM_LAYERS / num_layers))


def goals_of(measured: Measured) -> list[Goal]:
    """All goals of what was measured."""
    found: list[Goal] = []
    for burst in measured.get("bursts", ()):
        found += _of_burst(burst, measured["num_layers"])
    if "churn" in measured:
        found += _of_churn(measured["churn"])
    if "load" in measured:
        found += _of_load(measured["load"])
    return found


def _of_burst(burst: Measured, num_layers: int) -> Iterator[Goal]:
    phantoms = f" beside {burst['phantoms']} phantoms" if burst["phantoms"] else ""
    name = f"{burst['servers']} at once{phantoms}"
    yield _within(f"{name}: every layer claimed for good", burst["settled_seconds"], SPREAD_SECONDS)
    least = least_servers(burst["servers"], num_layers)
    yield Goal(
        what=f"{name}: servers of a layer, at least",
        wanted=f">= {least}",
        found=str(burst["fewest"]),
        is_met=burst["fewest"] >= least,
    )


def _of_churn(churn: Measured) -> Iterator[Goal]:
    for phase in churn["phases"]:
        if phase["what"] == CAME_BACK:
            continue
        name = f"{phase['servers']} {phase['what']}, {phase['lost_layers']} layers lost: served again"
        yield _within(name, phase["seconds"], MENDED_SECONDS)
    yield _none("texts that failed", len(churn["failed"]))
    yield _none("other problems", len(churn["problems"]))
    yield _all("identical tokens", churn["compared_tokens"], churn["identical_tokens"])


def _of_load(load: Measured) -> Iterator[Goal]:
    rounds, seconds = load["rounds"], load["seconds"]
    busiest = imbalance(computed(rounds[SHARED], load["peers"]))
    share = tokens_per_second(rounds[SHARED], seconds) / tokens_per_second(rounds[ALONE], seconds)
    clients = load["clients"][SHARED]
    yield Goal(
        what=f"{clients} clients, {len(load['peers'])} servers: the busiest, in the mean",
        wanted=f"<= {MOST_IMBALANCE:g}",
        found=f"{busiest:.2f}",
        is_met=busiest <= MOST_IMBALANCE,
    )
    yield Goal(
        what="tokens/s of all, in those of one route without a rival",
        wanted=f">= {LEAST_SHARE:g}",
        found=f"{share:.2f}",
        is_met=share >= LEAST_SHARE,
    )
    yield _none("texts that failed", len(errors(rounds[SHARED])))
    yield _all("identical tokens", *compared(rounds[SHARED], load["expected"]))


def _within(what: str, seconds: float | None, most: float) -> Goal:
    found = "never" if seconds is None else f"{seconds:.1f} s"
    return Goal(
        what=what, wanted=f"<= {most:g} s", found=found, is_met=seconds is not None and seconds <= most
    )


def _none(what: str, number: int) -> Goal:
    return Goal(what=what, wanted="0", found=str(number), is_met=number == 0)


def _all(what: str, number: int, of_them: int) -> Goal:
    return Goal(what=what, wanted=f"{number}", found=f"{of_them}", is_met=number == of_them and of_them > 0)


def table(measured: Measured) -> str:
    """The lines of all results, goals last."""
    lines = [f"{measured['model']}, {measured['machine']['cores']} cores, {NUM_LAYERS} layers a server", ""]
    if measured.get("bursts"):
        lines += [*_burst_lines(measured["bursts"]), ""]
    if "churn" in measured:
        lines += [*_churn_lines(measured["churn"]), ""]
    if "load" in measured:
        lines += [*_load_lines(measured["load"]), ""]
    lines += goal_lines(goals_of(measured), width=60)
    return "\n".join(lines)


def _burst_lines(bursts: list[Measured]) -> Iterator[str]:
    yield "a burst: seconds from the last claim until every layer is claimed for good, and served; from the"
    yield "last process' start until that claim; servers of the layer that fewest and most have"
    yield f"{'servers':>9}{'phantoms':>10}{'settled':>10}{'served':>10}{'claim':>10}{'fewest':>8}{'most':>6}"
    for burst in bursts:
        times = "".join(
            f"{'never' if burst[which] is None else format(burst[which], '.1f'):>10}"
            for which in ("settled_seconds", "served_seconds", "claims_seconds")
        )
        yield f"{burst['servers']:>9}{burst['phantoms']:>10}{times}{burst['fewest']:>8}{burst['most']:>6}"


def _churn_lines(churn: Measured) -> Iterator[str]:
    yield f"{churn['servers']} servers{'left':>34}{'layers lost':>13}{'served again':>14}{'moves':>7}"
    for phase in churn["phases"]:
        took = "never" if phase["seconds"] is None else f"{phase['seconds']:.1f} s"
        what = f"{phase['servers']} {phase['what']}"
        yield f"  {what:38}{phase['left']:>4}{phase['lost_layers']:>13}{took:>14}{len(phase['moves']):>7}"
    yield (
        f"  texts: {churn['done']} done, {len(churn['failed'])} failed; {churn['replaced_hops']} servers "
        f"replaced, {churn['replayed_tokens']} tokens replayed"
    )
    for line in (*churn["failed"], *churn["problems"]):
        yield f"! {line}"


def _load_lines(load: Measured) -> Iterator[str]:
    for name, rounds in load["rounds"].items():
        rates = [tokens_per_second([clients], load["seconds"]) for clients in rounds]
        rates_text = ", ".join(f"{rate:.1f}" for rate in rates)
        yield (
            f"{name}, {load['clients'][name]} clients: {rates_text} tokens/s; "
            f"{replaced(rounds)} servers replaced, {len(errors(rounds))} texts failed"
        )
    shares = computed(load["rounds"][SHARED], load["peers"])
    mean = sum(shares.values()) / len(shares)
    yield f"work of each server, in the mean: {', '.join(f'{work / mean:.2f}' for work in shares.values())}"
    for line in sorted({error for rounds in load["rounds"].values() for error in errors(rounds)}):
        yield f"! {line}"
