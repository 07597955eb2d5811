"""When the owner is told how others reach the server, and when not."""

from __future__ import annotations

from dataclasses import replace

from p2pinfer.server.life.reach_news import FIRST_SECONDS, STEADY_SECONDS, ReachNews
from p2pinfer.swarm.reach.report import ReachReport, WayIn
from p2pinfer.types import Way

UNKNOWN = ReachReport(way_in=WayIn.UNKNOWN)
DIRECT = ReachReport(way_in=WayIn.DIRECT, endpoints=("8.8.8.8:4600",))
RELAYED = ReachReport(way_in=WayIn.RELAYED, relays=("…abc123", "…def456"))


def told(news: ReachNews, report: ReachReport, *times: float) -> list[str]:
    """The lines that come when the report is the same at all of these times."""
    return [line for at in times if (line := news.line(report, at)) is not None]


def test_what_is_known_is_told_at_once_and_once():
    news = ReachNews()
    assert told(news, DIRECT, 0.0, 2.0, 100.0) == ["reached: directly at 8.8.8.8:4600"]


def test_nobody_is_told_that_nothing_is_known_while_others_may_still_look():
    news = ReachNews()
    assert told(news, UNKNOWN, 0.0, FIRST_SECONDS - 1) == []
    assert len(told(news, RELAYED, FIRST_SECONDS - 0.5)) == 1


def test_if_nobody_looks_that_is_told():
    [line] = told(ReachNews(), UNKNOWN, 0.0, FIRST_SECONDS, FIRST_SECONDS + 60)
    assert line.startswith("reached: not known yet")


def test_a_change_is_told_when_it_has_stayed():
    news = ReachNews()
    told(news, DIRECT, 0.0)
    assert told(news, RELAYED, 10.0, 10.0 + STEADY_SECONDS - 1) == []
    assert told(news, RELAYED, 10.0 + STEADY_SECONDS, 60.0) == [
        "reached: behind a router, through relays …abc123, …def456"
    ]


def test_a_relay_that_is_lost_and_found_again_is_no_news():
    news = ReachNews()
    told(news, RELAYED, 0.0)
    assert told(news, replace(RELAYED, relays=("…abc123",)), 10.0, 12.0) == []
    assert told(news, replace(RELAYED, relays=("…def456", "…abc123")), 14.0, 60.0) == []


def test_how_many_tunnels_are_punched_is_no_news():
    news = ReachNews()
    told(news, RELAYED, 0.0)
    assert told(news, replace(RELAYED, tunnels_in={Way.PUNCHED: 4}), 10.0, 60.0) == []


def test_while_p2pd_is_started_again_what_was_told_holds():
    news = ReachNews()
    told(news, RELAYED, 0.0)
    assert told(news, UNKNOWN, 10.0, 60.0) == []
    assert told(news, RELAYED, 62.0, 90.0) == []
