"""What users type at scripts/wan_lab."""

from __future__ import annotations

import pytest

from p2pinfer.errors import UsageError
from scripts.lab import PROFILES, Direction
from scripts.lab.words import (
    Count,
    Cut,
    HostSpec,
    Quit,
    Shape,
    environment,
    fill_in,
    parse_hosts,
    parse_order,
)


def test_a_host_has_a_name_a_profile_and_a_command():
    """The command may contain the characters that separate name, profile and command."""
    assert parse_hosts(["a=x --at=b:c", "b:satellite=y"], "home-cable") == [
        HostSpec(name="a", link=PROFILES["home-cable"], command="x --at=b:c"),
        HostSpec(name="b", link=PROFILES["satellite"], command="y"),
    ]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a"], "names no command"),
        (["a="], "names no command"),
        (["a b=c"], "no name for a host"),
        (["a:dsl=c"], "no profile 'dsl'; there are: lan, home-fibre"),
        (["car-1=c", "car_1=c"], "'car-1' and 'car_1' are too much alike"),
        (["a=c", "a=d"], "too much alike"),
    ],
)
def test_a_host_that_cannot_be_is_refused(texts: list[str], message: str):
    """The message says what to write instead."""
    with pytest.raises(UsageError, match=message):
        parse_hosts(texts, "lan")


@pytest.mark.parametrize(
    ("line", "order"),
    [
        ("\n", None),
        ("quit\n", Quit()),
        ("counters", Count()),
        ("cut a", Cut(name="a", direction=Direction.BOTH, heal=False)),
        (" cut  a up ", Cut(name="a", direction=Direction.UP, heal=False)),
        ("heal a down", Cut(name="a", direction=Direction.DOWN, heal=True)),
        ("shape a lan", Shape(name="a", link=PROFILES["lan"])),
    ],
)
def test_orders_are_understood(line: str, order: object):
    """Each line is one order."""
    assert parse_order(line) == order


@pytest.mark.parametrize("line", ["cut", "cut a sideways", "shape a", "kill a", "quit now"])
def test_other_lines_are_answered_with_what_can_be_said(line: str):
    """A typing mistake doesn't end the lab."""
    with pytest.raises(UsageError, match=r"(?s)is none of these:.*heal NAME"):
        parse_order(line)


def test_commands_learn_every_address():
    """Commands get addresses in their text and their environment; other braces stay unchanged."""
    addresses = {"a": "10.77.0.2", "car-1": "10.77.0.3"}

    assert fill_in("x {car-1}:80 {a} ${HOME} {}", addresses) == "x 10.77.0.3:80 10.77.0.2 ${HOME} {}"
    assert environment("a", addresses) == {
        "LAB_ADDRESS": "10.77.0.2",
        "LAB_ADDRESS_A": "10.77.0.2",
        "LAB_ADDRESS_CAR_1": "10.77.0.3",
    }
