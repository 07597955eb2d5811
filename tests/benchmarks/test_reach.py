"""bench_reach: how it judges what was measured behind routers."""

from __future__ import annotations

from typing import Any

import pytest

from scripts.benchmarks.reach.figures import Line, goals, in_words, move_gap, stall
from scripts.benchmarks.reach.first_answer import final_since
from scripts.benchmarks.reach.plan import KINDS, Pair, is_final, pairs
from scripts.benchmarks.reach.table import table
from scripts.benchmarks.reach.visitor import Answer

RELAYED = ["relayed", "relayed", "relayed"]
MIXED = ["punched", "relayed", "punched"]
PUNCHED = ["punched", "punched", "punched"]


def compared(ways: list[str], *, share: float, **more: Any) -> dict[str, Any]:
    """One pair of homes, measured in two rounds."""
    rate = {"tokens_per_second": 10 * share, "ways": ways, "identical": True}
    found = {"server": "home", "client": "home", "rounds": [rate, rate], "first_ways": RELAYED}
    found |= {"open": [{"tokens_per_second": 10.0}] * 2}
    return found | {"first_token_seconds": 4.0, "final_way_seconds": 20.0} | more


def measured(*lines: dict[str, Any], **parts: Any) -> dict[str, Any]:
    machine = {"cores": 2, "processor": "x86_64"}
    head = {"model": "m", "machine": machine, "profile": "home-cable", "num_tokens": 9, "repetitions": 2}
    return {**head, "table": list(lines), **parts}


def judged(*lines: dict[str, Any], **parts: Any) -> dict[str, bool]:
    return {goal.what: goal.is_met for goal in goals(measured(*lines, **parts))}


def moving(*ways: list[str], at: list[float], identical: bool = True) -> dict[str, Any]:
    return {"at": at, "ways": list(ways), "tokens": [1] * len(ways), "identical": identical}


def test_every_kind_of_servers_meets_every_kind_of_client():
    """The names are those of the lab's routers, and two for IPv6."""
    assert pairs(["home", "ipv6"], ["none"]) == [
        Pair(server="home", client="none"),
        Pair(server="ipv6", client="none"),
    ]
    assert {"none", "home", "carrier", "port-mapping", "ipv6", "ipv6-only"} <= set(KINDS)


@pytest.mark.parametrize(
    ("ways", "final"), [(PUNCHED, True), (["direct"], True), (MIXED, False), ([None], False), ([], False)]
)
def test_a_way_is_final_when_no_hop_is_relayed(ways: list[str | None], final: bool):
    """What nobody knows isn't final, either."""
    assert is_final(ways) is final


def test_the_final_way_is_counted_from_its_first_token_without_a_relay_after_it():
    """A relay that comes back starts the count again."""

    def answer(*ways: list[str], at: list[float]) -> Answer:
        return Answer(tokens=[1] * len(ways), at=at, ways=[list(each) for each in ways])

    first = answer(RELAYED, PUNCHED, MIXED, at=[1.0, 2.0, 3.0])

    assert final_since([first]) is None
    assert final_since([first, answer(PUNCHED, PUNCHED, at=[5.0, 6.0])]) == 5.0


def test_ways_are_counted_in_words():
    """A server of before doesn't say its way."""
    assert in_words(MIXED) == "punched 2, relayed 1"
    assert in_words([None, "direct"]) == "direct 1, unknown 1"


def test_punched_and_relayed_ways_have_goals_of_their_own():
    """The worst of the pairs counts."""
    quick = [compared(PUNCHED, share=0.95), compared(RELAYED, share=0.5)]
    assert all(judged(*quick).values())
    assert len(judged(*quick)) == 5

    slow = judged(compared(PUNCHED, share=0.8, first_token_seconds=16.0, final_way_seconds=26.0), *quick)
    assert [what for what, met in slow.items() if not met] == [
        "first token after a client's start, s",
        "until all hops are punched, s",
        "tokens/s punched, of the open network's",
    ]


def test_a_pair_without_an_answer_or_with_another_text_misses():
    """The others are still judged, and the table says why."""
    failed = {"server": "symmetric", "client": "home", "rounds": [], "open": [], "error": "no way\nat all"}
    other = compared(PUNCHED, share=1.0)
    other["rounds"] = [other["rounds"][0] | {"identical": False}] * 2

    assert not judged(compared(PUNCHED, share=1.0), failed)["pairs of homes that generate the same text"]
    assert not judged(other)["pairs of homes that generate the same text"]
    assert Line.of(failed).error == "no way\nat all"
    said = table(measured(failed, other))
    assert "symmetric     home         no    no way" in said
    assert "home          home         OTHER punched 3" in said


def test_a_session_has_moved_when_it_ends_without_a_relay():
    """The gap is that at the change, not the longest of all."""
    move = moving(RELAYED, RELAYED, PUNCHED, PUNCHED, at=[0.0, 0.5, 0.7, 1.9])

    assert move_gap(move) == pytest.approx(0.2)
    assert all(judged(move=move).values())
    assert move_gap(moving(PUNCHED, PUNCHED, at=[0.0, 1.0])) is None
    assert judged(move=moving(RELAYED, RELAYED, at=[0.0, 1.0])) == {
        "a session moved from a relay to the punched way": False
    }
    lost = moving(RELAYED, PUNCHED, at=[0.0, 1.0], identical=False)
    assert [what for what, met in judged(move=lost).items() if not met] == [
        "no token lost",
        "longest gap while it moved, s",
    ]
    assert judged(move={"error": "no answer"}) == {"a session moved from a relay to the punched way": False}


def test_a_stall_is_the_longest_gap_that_ended_after_the_kill():
    """What was slow before doesn't count."""
    killed = moving(RELAYED, RELAYED, RELAYED, RELAYED, at=[0.0, 9.0, 10.0, 12.5]) | {
        "killed_at": 9.5,
        "replaced_hops": 1,
    }

    assert stall(killed) == 2.5
    parts = {"relay-killed": {"rounds": [killed]}}
    assert all(judged(**parts).values())
    assert "longest stall of each answer 2.50 s; 1 hops replaced" in table(measured(**parts))
    assert not all(judged(**{"relay-killed": {"error": "nobody came"}}).values())
