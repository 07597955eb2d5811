"""Turns what happened in a round of bench_hostile into figures and goals (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from scripts.benchmarks.shared.report import Goal

LEAST_SHARE = {1: 0.5, 16: 0.25}
"""Of the honest client's tokens/s before the attack, by the attackers' addresses; any number above
one is judged as sixteen."""
MOST_FIRST_TOKEN_SECONDS = 15.0
MOST_PEAK_MEGABYTES = 300.0
"""More than before, all servers together; half of it for the page."""
MOST_LEFT_MEGABYTES = 60.0
"""The same, half a minute after the attack: an allocator gives no exact account."""
MOST_DATA_MEGABYTES = 12.0
"""That the data folders grow: three ledgers may have 4 MB each in their write-ahead logs."""
MOST_LOG_MEGABYTES_A_MINUTE = 0.5
LEAST_PAGE_SHARE = 0.9
MOST_DOORS = {1: 240, 16: 960}
"""That a server knocks at in a minute for attackers of so many addresses; once more at the start, where
nothing has been used up."""
MOST_TELLING_SECONDS = 0.25
"""Between the median answers about open and shut doors."""
MOST_TELLING_SHARE = 0.05
"""Of the answers, in words that came about one kind of doors only."""
LONGEST_WORDS = 1000
"""The longest line that a server's words may make on a terminal, with what stands around them."""

Round = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Memory and disk at one moment, of all servers together, with their p2pd, and of the page."""

    at: float
    servers_megabytes: float
    page_megabytes: float
    data_bytes: float
    log_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """How much more there was than before the attack: at most, and in the end."""

    peak: float
    left: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The figures of one round."""

    attack: str
    addresses: int
    rate_before: float
    rate_during: float
    longest_pause: float
    first_token_seconds: float | None  # of the client that came during the attack; None: it got none
    servers: Growth  # MB
    page: Growth
    data_megabytes: float
    log_megabytes_a_minute: float
    page_share: float  # answered during the attack, of the requests of the kind that fared worst
    losses: Sequence[str]
    attacker: Mapping[str, Any]
    honest_refusals: Mapping[str, int]

    @property
    def share(self) -> float:
        """Of the rate before that was left."""
        return self.rate_during / self.rate_before if self.rate_before else 0.0

    @classmethod
    def of(cls, found: Round) -> Line:
        """The figures of what was recorded."""
        began, counted, ended = found["began"], found["counted"], found["ended"]
        tokens = [event["at"] for event in found["honest"] if event["what"] == "token"]
        samples = [Sample(**sample) for sample in found["samples"]]
        minutes = (ended - began) / 60
        return cls(
            attack=found["attack"],
            addresses=found["addresses"],
            rate_before=rate(tokens, found["before"], began - found["starting"]),
            rate_during=rate(tokens, began, counted),
            longest_pause=longest_pause(tokens, began, ended),
            first_token_seconds=found["first_token_seconds"],
            servers=growth(samples, "servers_megabytes", began),
            page=growth(samples, "page_megabytes", began),
            data_megabytes=growth(samples, "data_bytes", began).peak / 1e6,
            log_megabytes_a_minute=growth(samples, "log_bytes", began, ended).left / 1e6 / minutes,
            page_share=answered([visit for visit in found["page"] if began <= visit["at"] <= ended]),
            losses=found["losses"],
            attacker=found["attacker"],
            honest_refusals=found["honest_refusals"],
        )


def rate(times: Iterable[float], start: float, end: float) -> float:
    """Tokens a second between two times.

    >>> rate([0.5, 1.0, 1.5, 9.0], 0.0, 2.0)
    1.5
    """
    return sum(start <= at < end for at in times) / (end - start) if end > start else 0.0


def longest_pause(times: Iterable[float], start: float, end: float) -> float:
    """The longest time without a token that touches the time from `start` to `end`.

    >>> longest_pause([0.0, 1.0, 4.0], 0.5, 3.0), longest_pause([], 0.0, 2.0)
    (3.0, 2.0)
    """
    inner = sorted(times)
    before = [at for at in inner if at <= start][-1:] or [start]
    after = [at for at in inner if at >= end][:1] or [end]
    marks = [*before, *(at for at in inner if start < at < end), *after]
    return max(later - former for former, later in pairwise(marks))


def answered(visits: Sequence[Mapping[str, Any]]) -> float:
    """The share of answered requests, of the kind that fared worst; 0 if there were none.

    >>> answered([{"what": "state", "seconds": 0.1}, {"what": "events", "seconds": None}])
    0.0
    """
    kinds = {visit["what"] for visit in visits}
    asked = [[visit["seconds"] is not None for visit in visits if visit["what"] == kind] for kind in kinds]
    return min((sum(each) / len(each) for each in asked), default=0.0)


def growth(samples: Sequence[Sample], what: str, began: float, ended: float | None = None) -> Growth:
    """What was added since the attack began, until the last sample, or the last one before `ended`."""
    values = [(sample.at, getattr(sample, what)) for sample in samples]
    before = [value for at, value in values if at <= began]
    later = [value for at, value in values if at > began and (ended is None or at <= ended)]
    if not before or not later:
        return Growth(peak=0.0, left=0.0)
    return Growth(peak=max(0.0, max(later) - before[-1]), left=max(0.0, later[-1] - before[-1]))


def telling(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    """The share of answers that were never given about the other kind.

    >>> telling({"shut up": 3, "late": 1}, {"shut up": 4})
    0.125
    """
    only = sum(one[words] for words in one if words not in other)
    only += sum(other[words] for words in other if words not in one)
    return only / max(1, sum(one.values()) + sum(other.values()))


def promised(by_addresses: Mapping[int, float], addresses: int) -> float:
    """What is promised where attackers have so many addresses.

    >>> [promised(LEAST_SHARE, addresses) for addresses in (1, 2, 100)]
    [0.5, 0.25, 0.25]
    """
    return next((value for most, value in by_addresses.items() if addresses <= most), by_addresses[16])


def goals(line: Line) -> list[Goal]:
    """What was promised, and what came of it in this round."""
    least = promised(LEAST_SHARE, line.addresses)
    first = line.first_token_seconds
    return [
        _at_least("tokens/s during / before", line.share, least),
        Goal(
            what="first token of a new client, s",
            wanted=f"<= {MOST_FIRST_TOKEN_SECONDS:g}",
            found="none" if first is None else f"{first:.1f}",
            is_met=first is not None and first <= MOST_FIRST_TOKEN_SECONDS,
        ),
        _at_most("servers' memory, peak, MB", line.servers.peak, MOST_PEAK_MEGABYTES),
        _at_most("servers' memory, left, MB", line.servers.left, MOST_LEFT_MEGABYTES),
        _at_most("page's memory, peak, MB", line.page.peak, MOST_PEAK_MEGABYTES / 2),
        _at_most("page's memory, left, MB", line.page.left, MOST_LEFT_MEGABYTES),
        _at_most("data on disk, MB", line.data_megabytes, MOST_DATA_MEGABYTES),
        _at_most("log, MB a minute", line.log_megabytes_a_minute, MOST_LOG_MEGABYTES_A_MINUTE),
        _at_least("requests that the page answers", line.page_share, LEAST_PAGE_SHARE),
        Goal(what="processes that ended", wanted="0", found=str(len(line.losses)), is_met=not line.losses),
        *_own_goals(line),
    ]


def _own_goals(line: Line) -> Iterator[Goal]:
    """What one kind of attack is about."""
    counts, notes = line.attacker.get("counts", {}), line.attacker.get("notes", {})
    if "seconds" in notes:
        most = promised(MOST_DOORS, line.addresses) * (1 + line.attacker["seconds"] / 60)
        yield _at_most("doors knocked at", counts.get("doors knocked at", 0), round(most))
        both = [sorted(notes["seconds"][kind]) for kind in ("open", "shut")]
        if all(both):
            medians = [seconds[len(seconds) // 2] for seconds in both]
            yield _at_most(
                "open and shut doors differ, s", abs(medians[0] - medians[1]), MOST_TELLING_SECONDS
            )
            same = telling(notes["words"]["open"], notes["words"]["shut"]) <= MOST_TELLING_SHARE
            yield Goal(
                what="answers about both are the same",
                wanted="yes",
                found="yes" if same else "no",
                is_met=same,
            )
    if "longest line" in notes:
        wrong = counts.get("characters that no terminal should get", 0)
        yield _at_most("control characters on a terminal", wrong, 0)
        yield _at_most("longest line on a terminal", notes["longest line"], LONGEST_WORDS)


def _at_least(what: str, found: float, least: float) -> Goal:
    return Goal(what=what, wanted=f">= {least:g}", found=f"{found:.2f}", is_met=found >= least)


def _at_most(what: str, found: float, most: float) -> Goal:
    return Goal(what=what, wanted=f"<= {most:g}", found=f"{found:.3g}", is_met=found <= most)


def all_goals(rounds: Iterable[Round]) -> list[tuple[Line, Goal]]:
    """Every goal of every round."""
    lines = map(Line.of, rounds)
    return [(line, goal) for line in lines for goal in goals(line)]
