"""What users type at scripts/wan_lab."""

from __future__ import annotations

import pytest

from p2pinfer.errors import UsageError
from scripts.lab import PROFILES, Direction, RouterKind
from scripts.lab.words import (
    Count,
    Cut,
    HostSpec,
    Quit,
    Reboot,
    Shape,
    environment,
    fill_in,
    parse_hosts,
    parse_order,
)


def test_a_host_has_a_name_a_profile_a_router_and_a_command():
    """The command may contain the characters that separate name, profile, router and command."""
    none, cable, satellite = RouterKind.NONE, PROFILES["home-cable"], PROFILES["satellite"]
    texts = ["a=x --at=b:c@d", "b:satellite=y", "c@carrier=z", "d:satellite@full-cone=z"]

    assert parse_hosts(texts, "home-cable") == [
        HostSpec(name="a", link=cable, router=none, command="x --at=b:c@d"),
        HostSpec(name="b", link=satellite, router=none, command="y"),
        HostSpec(name="c", link=cable, router=RouterKind.CARRIER, command="z"),
        HostSpec(name="d", link=satellite, router=RouterKind.FULL_CONE, command="z"),
    ]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a"], "names no command"),
        (["a="], "names no command"),
        (["a b=c"], "no name for a host"),
        (["a:dsl=c"], "no profile 'dsl'; there are: lan, home-fibre"),
        (["a@nat=c"], "no kind of router 'nat'; there are: none, home, full-cone"),
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
        ("reboot a", Reboot(name="a")),
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
    addresses = {"a": "11.77.0.2", "car-1": "11.77.0.3"}

    assert fill_in("x {car-1}:80 {a} ${HOME} {}", addresses) == "x 11.77.0.3:80 11.77.0.2 ${HOME} {}"
    assert environment("a", addresses) == {
        "LAB_ADDRESS": "11.77.0.2",
        "LAB_ADDRESS_A": "11.77.0.2",
        "LAB_ADDRESS_CAR_1": "11.77.0.3",
    }
