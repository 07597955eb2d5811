"""The simulation's table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scripts.fleet.service import Tally

NIGHT = (*range(19, 24), *range(6))
"""The hours from 19 to 6."""

HEADER = (
    f"{'':>31}{'every layer held, % of the time':>48}\n"
    f"{'':>31}{'all day':>28}{'19 to 6':>20}{'of oracle':>20}{'of loaded':>10}{'moves':>8}{'GB':>7}\n"
    f"{'rule':<16}{'layers':>7}{'servers':>8}{'possible':>12}{'once':>8}{'twice':>8}{'once':>12}{'twice':>8}"
    f"{'all day':>11}{'19 to 6':>9}{'all day':>10}{'a day':>8}{'a day':>7}"
)


def row(rule: str, num_layers: int, servers: int, hours: float, tallies: Sequence[Tally]) -> str:
    """One model's line. `tallies` are by hour of the day."""
    day, night = total(tallies, range(24)), total(tallies, NIGHT)
    server_days = servers * hours / 24
    return (
        f"{rule:<16}{num_layers:>7}{servers:>8}{percent(day.possible, day):>12}"
        f"{percent(day.held_once, day):>8}"
        f"{percent(day.held_twice, day):>8}"
        f"{percent(night.held_once, night):>12}{percent(night.held_twice, night):>8}"
        f"{part(day.of_oracle, day):>11}{part(night.of_oracle, night):>9}{part(day.of_loaded, day):>10}"
        f"{day.moves / server_days:>8.2f}{day.fetched_bytes / 1e9 / server_days:>7.1f}"
    )


def hourly_lines(tallies: Sequence[Tally]) -> Iterator[str]:
    """What happened in each hour."""
    yield (
        f"{'hour':>6}{'present':>9}{'joins':>7}{'moves':>7}"
        f"{'once %':>9}{'twice %':>9}{'oracle':>8}{'loaded':>8}"
    )
    for hour, one in enumerate(tallies):
        if one.seconds:
            yield (
                f"{hour:>6}{one.present / one.seconds:>9.0f}{one.joins:>7}{one.moves:>7}"
                f"{percent(one.held_once, one):>9}{percent(one.held_twice, one):>9}"
                f"{part(one.of_oracle, one):>8}{part(one.of_loaded, one):>8}"
            )


def total(tallies: Sequence[Tally], hours: Sequence[int]) -> Tally:
    """Of these hours of the day."""
    found = Tally()
    for hour in hours:
        found.add(tallies[hour])
    return found


def percent(seconds: float, tally: Tally) -> str:
    """Of the tally's time; `-` if it has none."""
    return f"{100 * seconds / tally.seconds:.2f}" if tally.seconds else "-"


def part(weighted_seconds: float, tally: Tally) -> str:
    """The mean over the tally's time."""
    return f"{weighted_seconds / tally.seconds:.2f}" if tally.seconds else "-"
