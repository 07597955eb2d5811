"""How a machine is powered, by folders laid out as Linux lays out /sys/class/power_supply."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from p2pinfer.owner.signals.meaning import Told
from p2pinfer.owner.signals.sources import power_supply
from p2pinfer.owner.signals.trouble import SourceError

Entry = Mapping[str, object]

MOUSE: Entry = {"type": "Battery", "scope": "Device", "capacity": 35, "status": "Discharging", "online": 1}
"""As `hidpp_battery_0` is on a desktop: a wireless mouse, whose battery says that it is online."""


def mains(online: int) -> Entry:
    return {"type": "Mains", "online": online}


def battery(status: str, **files: object) -> Entry:
    return {"type": "Battery", "present": 1, "status": status, **({"capacity": 80} | files)}


def usb(online: int) -> Entry:
    return {"type": "USB", "online": online, "usb_type": "[C] PD PD_PPS", "voltage_now": 5_000_000}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "power_supply"
    folder.mkdir()
    return folder


def lay_out(root: Path, entries: Mapping[str, Entry]) -> Path:
    for name, files in entries.items():
        (root / name).mkdir()
        for file, value in files.items():
            (root / name / file).write_text(f"{value}\n")
    return root


def hide(file: Path) -> None:
    """Make a file that exists and can't be read, also for root: a pipe in the place of a file."""
    file.unlink(missing_ok=True)
    os.mkfifo(file)


@pytest.mark.parametrize(
    ("entries", "plugged_in"),
    [
        ({}, True),
        ({"CMB1": battery("Discharging", capacity=30), "ACAD": mains(0)}, False),
        ({"CMB1": battery("Discharging", capacity=30)}, False),
        ({"hidpp_battery_0": MOUSE}, True),
        ({"ADP0": mains(1), "BAT0": battery("Not charging")}, True),
        ({"BAT0": battery("Not charging")}, True),
        ({"BAT0": battery("Full"), "AC": mains(0)}, True),
        ({"BAT0": battery("Unknown")}, True),
        ({"BAT0": battery("Charging")}, True),
        # A ThinkPad uses up one battery before the other.
        ({"AC": mains(0), "BAT0": battery("Unknown"), "BAT1": battery("Discharging")}, False),
        ({"AC": mains(1), "BAT0": battery("Not charging"), "BAT1": battery("Charging")}, True),
        # A charger that is too weak is one all the same.
        ({"AC": mains(1), "BAT0": battery("Discharging")}, True),
        (
            {
                "AC": mains(0),
                "BAT0": battery("Charging"),
                "ucsi-source-psy-USBC000:001": usb(1),
                "ucsi-source-psy-USBC000:002": usb(0),
            },
            True,
        ),
        (
            {
                "BAT0": battery("Discharging"),
                "ucsi-source-psy-USBC000:001": usb(0),
                "ucsi-source-psy-USBC000:002": usb(0),
            },
            False,
        ),
        ({"BAT0": battery("Discharging"), "USB": usb(2)}, True),  # 2 is a negotiated voltage
        ({"BAT0": battery("Discharging"), "wls": {"type": "Wireless", "online": 1}}, True),
        ({"BAT0": battery("Discharging"), "wls": {"type": "Wireless", "online": 0}}, False),
        # An empty bay, as on a laptop whose battery was taken out.
        ({"BAT1": {"type": "Battery", "present": 0, "status": "Discharging"}}, True),
        ({"ucsi-source-psy-USBC000:001": usb(0)}, True),  # a desktop with USB-C
        ({"ups": {"type": "UPS", "status": "Discharging", "online": 1, "capacity": 90}}, False),
        ({"ups": {"type": "UPS", "status": "Full", "online": 1, "capacity": 100}}, True),
        # A graphics tablet has a charger of its own.
        (
            {
                "wacom_battery_0": MOUSE,
                "wacom_ac_0": {"type": "Mains", "scope": "Device", "online": 1},
                "BAT0": battery("Discharging"),
            },
            False,
        ),
        ({"BAT0": battery("Discharging", scope="System")}, False),
        ({"macsmc-battery": battery("Discharging"), "macsmc-ac": mains(0)}, False),
        ({"BAT1": battery("Discharging"), "ACAD": mains(0), "ps-controller-battery-0": MOUSE}, False),
    ],
)
def test_what_is_plugged_in_is_told_by_the_files_of_each_entry(
    root: Path, entries: Mapping[str, Entry], plugged_in: bool
):
    assert power_supply.plugged_in(lay_out(root, entries)).value is plugged_in


@pytest.mark.parametrize(
    ("entries", "percent"),
    [
        ({}, 100.0),
        ({"hidpp_battery_0": MOUSE}, 100.0),
        ({"CMB1": battery("Discharging", capacity=30), "ACAD": mains(0)}, 30.0),
        # By energy: the larger battery counts more.
        (
            {
                "BAT0": battery("Unknown", energy_now=6_000_000, energy_full=24_000_000),
                "BAT1": battery("Discharging", energy_now=72_000_000, energy_full=72_000_000),
            },
            81.25,
        ),
        # By charge, as on a Steam Deck or a Surface.
        (
            {
                "BAT0": battery("Full", charge_now=1_000_000, charge_full=4_000_000),
                "BAT1": battery("Full", charge_now=1_000_000, charge_full=1_000_000),
            },
            40.0,
        ),
        # One by energy, one by charge at 10 V: 10 Wh of 10 and 0 Wh of 30.
        (
            {
                "BAT0": battery("Full", energy_now=10_000_000, energy_full=10_000_000),
                "BAT1": battery("Full", charge_now=0, charge_full=3_000_000, voltage_min_design=10_000_000),
            },
            25.0,
        ),
        ({"BAT0": battery("Full", capacity=20), "BAT1": battery("Full", capacity=60)}, 40.0),
        (
            {
                "BAT0": battery("Full", energy_now=10_000_000, energy_full=10_000_000),
                "BAT1": battery("Full", capacity=50),
            },
            75.0,
        ),
        # A worn battery reports more than its full charge; a confused one a full charge of nothing.
        ({"BAT0": battery("Full", energy_now=51_000_000, energy_full=50_000_000)}, 100.0),
        ({"BAT0": battery("Full", capacity=66, energy_now=0, energy_full=0)}, 66.0),
        ({"BAT0": battery("Full", capacity=103)}, 100.0),
        ({"BAT0": battery("Full", capacity=0)}, 0.0),
        # An empty bay, and a mouse, hold nothing of ours.
        (
            {
                "BAT0": battery("Full", capacity=50),
                "BAT1": {"type": "Battery", "present": 0, "capacity": 0},
                "hid-00:11-battery": MOUSE,
            },
            50.0,
        ),
    ],
)
def test_the_percentage_is_that_of_all_batteries_of_the_machine(
    root: Path, entries: Mapping[str, Entry], percent: float
):
    assert power_supply.battery_percent(lay_out(root, entries)).value == pytest.approx(percent)


def test_the_words_say_how_many_batteries_there_are(root: Path):
    lay_out(root, {"BAT0": battery("Full", capacity=20)})
    assert power_supply.battery_percent(root).words == "the battery is at 20 %"
    lay_out(root, {"BAT1": battery("Full", capacity=60)})
    assert power_supply.battery_percent(root).words == "the 2 batteries are together at 40 %"


@pytest.mark.parametrize("file", ["type", "scope", "status", "present"])
def test_a_battery_that_cannot_be_read_is_not_no_battery(root: Path, file: str):
    """Neither plugged in nor full is said of it."""
    lay_out(root, {"BAT0": battery("Charging"), "AC": mains(0)})
    hide(root / "BAT0" / file)

    with pytest.raises(SourceError, match="BAT0 can't be read"):
        power_supply.plugged_in(root)
    if file != "status":
        with pytest.raises(SourceError, match="BAT0 can't be read"):
            power_supply.battery_percent(root)


def test_a_charger_that_cannot_be_read_matters_only_while_a_battery_discharges(root: Path):
    lay_out(root, {"BAT0": battery("Charging"), "AC": mains(1)})
    hide(root / "AC" / "online")
    assert power_supply.plugged_in(root).value is True

    (root / "BAT0" / "status").write_text("Discharging\n")
    with pytest.raises(SourceError, match="AC can't be read"):
        power_supply.plugged_in(root)
    assert power_supply.battery_percent(root).value == 80.0


def test_an_online_charger_is_enough_whatever_else_cannot_be_read(root: Path):
    lay_out(root, {"BAT0": battery("Charging"), "AC": mains(1)})
    hide(root / "BAT0" / "type")

    assert power_supply.plugged_in(root).value is True


def test_a_mouse_that_is_asleep_disturbs_nothing(root: Path):
    lay_out(root, {"hidpp_battery_0": MOUSE})
    hide(root / "hidpp_battery_0" / "status")
    hide(root / "hidpp_battery_0" / "capacity")

    assert power_supply.plugged_in(root).words == "this machine has no battery"
    assert power_supply.battery_percent(root).value == 100.0


def test_a_battery_that_says_nothing_is_named(root: Path):
    lay_out(root, {"BAT0": {"type": "Battery", "capacity_level": "Normal"}})

    with pytest.raises(SourceError, match="BAT0 doesn't say whether it is being charged"):
        power_supply.plugged_in(root)
    with pytest.raises(SourceError, match="BAT0 doesn't say how full it is"):
        power_supply.battery_percent(root)


def test_an_unreadable_level_is_taken_from_another_file(root: Path):
    lay_out(root, {"BAT0": battery("Full", capacity=44, energy_full=50_000_000)})
    hide(root / "BAT0" / "energy_now")
    assert power_supply.battery_percent(root).value == 44.0

    hide(root / "BAT0" / "capacity")
    with pytest.raises(SourceError, match="BAT0 can't be read"):
        power_supply.battery_percent(root)


def test_a_charger_that_vanishes_during_the_look_is_looked_for_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
):
    lay_out(root, {"BAT0": battery("Discharging")})
    listings = [["BAT0", "ucsi-gone"], ["BAT0"]]
    monkeypatch.setattr(power_supply.os, "listdir", lambda path: listings.pop(0))

    assert power_supply.plugged_in(root).value is False


def test_an_entry_that_leads_nowhere_is_not_no_battery(root: Path):
    (root / "BAT0").symlink_to(root / "gone")

    for look in (power_supply.plugged_in, power_supply.battery_percent):
        with pytest.raises(SourceError, match="BAT0 can't be read"):
            look(root)


def test_a_port_that_charges_a_phone_does_not_power_the_machine(root: Path):
    """Some firmware says that such a port is online."""
    lay_out(root, {"BAT0": battery("Discharging"), "ucsi-source-psy-USBC000:001": usb(1)})
    port = root / "ucsi-source-psy-USBC000:001" / "device" / "typec" / "port0"
    port.mkdir(parents=True)

    (port / "power_role").write_text("[source] sink\n")
    assert power_supply.plugged_in(root).value is False
    (port / "power_role").write_text("source [sink]\n")
    assert power_supply.plugged_in(root).value is True


def test_a_small_board_has_no_such_folder(tmp_path: Path):
    """As on a Raspberry Pi."""
    assert power_supply.plugged_in(tmp_path / "power_supply").value is True
    assert power_supply.battery_percent(tmp_path / "power_supply").value == 100.0
    assert not power_supply.has_battery(tmp_path / "power_supply")


@pytest.mark.parametrize("root_path", ["none/class/power_supply", "file/power_supply"])
def test_a_machine_that_hides_its_files_is_not_one_without_a_battery(tmp_path: Path, root_path: str):
    (tmp_path / "file").write_text("")

    for look in (power_supply.plugged_in, power_supply.battery_percent):
        with pytest.raises(SourceError):
            look(tmp_path / root_path)


def test_whether_there_is_a_battery_is_not_told_by_a_mouse(root: Path):
    lay_out(root, {"hidpp_battery_0": MOUSE, "AC": mains(1)})
    assert not power_supply.has_battery(root)
    lay_out(root, {"CMB1": battery("Full")})
    assert power_supply.has_battery(root)


def test_strange_contents_are_only_strange(root: Path):
    """Bytes that are no text, a number of a thousand digits, a huge file, a folder in the place of a file."""
    lay_out(root, {"\x1b[2J": battery("Full", energy_now="9" * 5000, energy_full="x", capacity="-3")})
    (root / "\x1b[2J" / "status").write_bytes(b"\xff\xfe" * 100_000)
    (root / "\x1b[2J" / "charge_now").mkdir()

    told: list[Told] = [power_supply.plugged_in(root)]
    assert told[0].words.isprintable()
    with pytest.raises(SourceError) as caught:
        power_supply.battery_percent(root)
    assert str(caught.value).isprintable()
