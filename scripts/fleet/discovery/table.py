"""The tables of discovery."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scripts.fleet.discovery.events import Burst, Loss
from scripts.fleet.discovery.growth import Growth
from scripts.fleet.discovery.hostile import Found

GROWTH_HEADER = (
    f"{'':>20}{'cells':>14}{'records of a':>26}{'keys of':>12}{'messages of':>15}{'client':>37}"
    f"{'busiest node, 1/min':>23}\n"
    f"{'servers':>9}{'clients':>11}{'number':>8}{'depth':>6}"
    f"{'key':>6}{'node':>6}{'most':>6}{'read':>5}{'':>3}{'server':>7}{'most':>5}"
    f"{'join':>7}{'hour':>8}{'reads':>7}{'again':>7}{'hops':>6}{'MB':>6}{'MB an hour':>11}"
    f"{'':>4}{'ours':>8}{'keepers':>11}"
)


def growth_row(one: Growth) -> str:
    """One size."""
    return (
        f"{one.servers:>9,}{one.clients:>11,}{one.cells:>8,}{one.depth:>6}"
        f"{one.records_of_key:>6}{one.records_of_node_mean:>6.0f}{one.records_of_node_most:>6}"
        f"{one.records_of_read:>5.0f}{'':>3}{one.keys_of_server:>7.1f}{one.keys_of_server_most:>5}"
        f"{one.join_messages:>7.0f}{one.hourly_messages:>8,.0f}"
        f"{one.first_reads:>7.1f}{one.reads_again:>7.1f}{one.hops:>6.1f}"
        f"{one.first_bytes / 1e6:>6.2f}{one.hourly_bytes / 1e6:>11.1f}"
        f"{'':>4}{one.busiest_per_minute:>8,.0f}{one.without_per_minute:>11,.0f}"
    )


def hostile_lines(days: Sequence[Found], newcomers: int) -> Iterator[str]:
    """Shares of newcomers who found a whole honest route."""
    yield (
        f"{'hostile':>8}{'one walk':>10}{'disjoint':>10}{'and members asked':>19}"
        f"{'and cells beside':>18}   ({newcomers} newcomers)"
    )
    for one in days:
        yield (
            f"{100 * one.share:>7.0f}%{100 * one.one_walk:>9.1f}%{100 * one.disjoint:>9.1f}%"
            f"{100 * one.with_members:>18.1f}%{100 * one.with_cells_beside:>17.1f}%"
            f"{'   with the best ranks' if one.best_ranks else ''}"
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
