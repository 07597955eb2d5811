"""The tables of discovery."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scripts.fleet.discovery.events import Burst, Loss
from scripts.fleet.discovery.flood import Flood
from scripts.fleet.discovery.growth import Growth
from scripts.fleet.discovery.hostile import Found

GROWTH_HEADER = (
    f"{'':>20}{'cells':>14}{'of a key':>12}{'records of a':>17}{'':>3}{'keys of':>12}{'messages of':>15}"
    f"{'client':>37}"
    f"{'busiest node, 1/min':>23}\n"
    f"{'servers':>9}{'clients':>11}{'number':>8}{'depth':>6}"
    f"{'recs':>6}{'ask':>6}{'node':>6}{'most':>6}{'read':>5}{'':>3}{'server':>7}{'most':>5}"
    f"{'join':>7}{'hour':>8}{'reads':>7}{'again':>7}{'hops':>6}{'MB':>6}{'MB an hour':>11}"
    f"{'':>4}{'ours':>8}{'keepers':>11}"
)


def growth_row(one: Growth) -> str:
    """One size."""
    return (
        f"{one.servers:>9,}{one.clients:>11,}{one.cells:>8,}{one.depth:>6}"
        f"{one.records_of_key:>6}{one.offers_of_key:>6}{one.records_of_node_mean:>6.0f}{one.records_of_node_most:>6}"
        f"{one.records_of_read:>5.0f}{'':>3}{one.keys_of_server:>7.1f}{one.keys_of_server_most:>5}"
        f"{one.join_messages:>7.0f}{one.hourly_messages:>8,.0f}"
        f"{one.first_reads:>7.1f}{one.reads_again:>7.1f}{one.hops:>6.1f}"
        f"{one.first_bytes / 1e6:>6.2f}{one.hourly_bytes / 1e6:>11.1f}"
        f"{'':>4}{one.busiest_per_minute:>8,.0f}{one.without_per_minute:>11,.0f}"
    )


def hostile_lines(days: Sequence[Found], newcomers: int) -> Iterator[str]:
    """Shares of newcomers who found a whole honest route."""
    yield (
        f"{'hostile':>8}{'one walk':>10}{'disjoint':>10}{'beside sparse ones':>20}{'beside all':>12}"
        f"   ({newcomers} newcomers)"
    )
    for one in days:
        yield (
            f"{100 * one.hostile.share:>7.0f}%{100 * one.one_walk:>9.1f}%{100 * one.disjoint:>9.1f}%"
            f"{100 * one.by_rule:>19.1f}%{100 * one.all_beside:>11.1f}%"
            f"{'   with the best ranks' if one.hostile.best_ranks else ''}"
            f"{', and there first' if one.hostile.first else ''}"
        )


def flood_lines(floods: Sequence[Flood]) -> Iterator[str]:
    """Of the honest servers how many a reader sees, and what it costs to hide one."""
    yield (
        f"{'flood of':>9}{'there first':>13}{'root':>7}{'in all':>8}{'beside all':>12}"
        f"{'core-seconds a hidden server':>30}   (of {floods[0].honest} honest servers)"
    )
    for one in floods:
        cost = "none hidden" if one.cost is None else f"{one.cost:,.0f}"
        yield (
            f"{one.identities:>9,}{'honest' if one.honest_first else 'hostile':>13}{one.root:>7.1f}"
            f"{one.seen:>8.1f}{one.with_cells_beside:>12.1f}{cost:>30}"
        )


def event_lines(crowd: Burst, gone: Loss) -> Iterator[str]:
    """A burst, and a loss."""
    yield (
        f"{crowd.arrivals:,} servers come to a town of {crowd.before} in a minute:"
        f" {crowd.offers_per_second:.0f} offers a second at its key, {crowd.records_of_key} records kept,"
        f" settled after {crowd.settled_seconds:.0f} s"
    )
    yield (
        f"{100 * gone.share:.0f} % of all servers go at once: {100 * gone.keys_without_keeper:.2f} % of the"
        f" others' keys lose all keepers, {100 * gone.cells_without_keeper:.3f} % of the cells;"
        f" {gone.reads:.1f} reads for a client that comes back"
    )
