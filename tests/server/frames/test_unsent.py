"""Whose outputs are dropped when readers take nothing."""

from __future__ import annotations

from p2pinfer.server.frames.unsent import UnsentOutputs


def test_outputs_wait_for_as_long_as_there_is_room():
    unsent: UnsentOutputs[str] = UnsentOutputs(100)

    assert unsent.look({"a": 60, "b": 40}) == []
    assert unsent.look({"a": 60, "b": 40}) == []


def test_those_that_stand_still_go_before_those_that_move_and_those_that_have_just_begun():
    unsent: UnsentOutputs[str] = UnsentOutputs(100)
    assert unsent.look({"slow": 50, "still": 30, "large": 20}) == []

    assert unsent.look({"slow": 49, "still": 30, "large": 20, "new": 1000}) == [
        "still",
        "large",
        "slow",
        "new",
    ]
    assert unsent.look({"slow": 49, "still": 30, "new": 40}) == ["slow"], "the largest of equals"


def test_no_more_go_than_needed():
    unsent: UnsentOutputs[int] = UnsentOutputs(100)
    unsent.look(dict.fromkeys(range(10), 10))

    assert unsent.look(dict.fromkeys(range(12), 10)) == [0, 1]
