"""The policy file: all that it can say, and what can be wrong with the file itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.errors import UsageError
from p2pinfer.owner.policy.conditions import Action, Condition, InUse
from p2pinfer.owner.policy.hours import parse_window
from p2pinfer.owner.policy.policy import Policy, Relaying, Sharing
from p2pinfer.owner.policy.policy_file import load_policy, parse_policy
from p2pinfer.owner.policy.tariff import PricedHours, Tariff
from p2pinfer.owner.signals.config import (
    Command,
    Entity,
    FileText,
    HomeAssistant,
    Host,
    Meaning,
    MqttBroker,
    MqttTopic,
    SignalsConfig,
)
from p2pinfer.owner.signals.readings import Signal
from tests.owner.policy.reading import parsed, toml_soup

EVERYTHING = """
version = 1

[when]
parked = true
plugged_in = true
unmetered = true
wifi = ["home", "work"]
places = "Home"
hours = ["mon-fri 22:00-07:00", "sat,sun"]
max_price = 0.3
battery_floor_percent = 50
battery_resume_percent = 60.5
battery_max_celsius = 40
battery_resume_celsius = 35
machine_max_celsius = 90
machine_resume_celsius = 75
monthly_traffic_gb = 100
exclusive_programs = ["game"]

[in_use]
then = "limit"
cpu_share = 0.2

[limits]
cpu_share = 0.5
watts = 60
sharing = { monthly_gb = 50, mbit_per_s = 5.5 }
relaying = { monthly_gb = 20, mbit_per_s = 2.5 }

[tariff]
currency = "CHF"
price = 0.32
hours = [{ when = "22:00-06:00", price = 0.24 }]

[energy]
watts_per_core = 5
idle_watts = 30

[timing]
drain_seconds = 30
stale_seconds = 45

[actions]
parked = "stop"

[mqtt]
host = "broker.local"
port = 8883
username = "me"
password = "s3cret"
tls = true

[home_assistant]
url = "http://homeassistant.local:8123"
token = "t0ken"

[signals]
poll_seconds = 1.5
parked = { mqtt = "car/gear", true_when = ["P", ""], called = "gear", max_age_seconds = 3600 }
plugged_in = { home_assistant = "binary_sensor.plug", attribute = "state", false_when = ["no"] }
battery_percent = { file = "/run/battery", scale = 0.1, offset = -2, json_path = ["a", "b"] }
battery_celsius = { command = ["celsius", "-b"], every_seconds = 20, timeout_seconds = 2 }
in_use = { host = true, idle_seconds = 60 }
place = { mqtt = "car/place" }
"""


def test_everything_can_be_said():
    battery = Meaning(scale=0.1, offset=-2.0, json_path=("a", "b"))

    assert parse_policy(EVERYTHING, "policy.toml") == Policy(
        parked=True,
        plugged_in=True,
        unmetered=True,
        wifi=("home", "work"),
        places=("Home",),
        hours=(parse_window("mon-fri 22:00-07:00"), parse_window("sat,sun")),
        max_price=0.3,
        battery_floor_percent=50,
        battery_resume_percent=60.5,
        battery_max_celsius=40,
        battery_resume_celsius=35,
        machine_max_celsius=90,
        machine_resume_celsius=75,
        monthly_traffic_gb=100,
        in_use=InUse.LIMIT,
        cpu_share_in_use=0.2,
        cpu_share=0.5,
        max_watts=60,
        sharing=Sharing(monthly_gb=50, mbit_per_s=5.5),
        relaying=Relaying(monthly_gb=20, mbit_per_s=2.5),
        currency="CHF",
        tariff=Tariff(price=0.32, hours=(PricedHours(window=parse_window("22:00-06:00"), price=0.24),)),
        watts_per_core=5,
        idle_watts=30,
        drain_seconds=30,
        stale_seconds=45,
        actions={Condition.PARKED: Action.STOP},
        signals=SignalsConfig(
            sources={
                Signal.PARKED: MqttTopic(
                    topic="car/gear",
                    meaning=Meaning(true_when=("P", ""), called="gear", max_age_seconds=3600),
                ),
                Signal.PLUGGED_IN: Entity(
                    entity_id="binary_sensor.plug", attribute="state", meaning=Meaning(false_when=("no",))
                ),
                Signal.BATTERY_PERCENT: FileText(path="/run/battery", meaning=battery),
                Signal.BATTERY_CELSIUS: Command(
                    arguments=("celsius", "-b"), every_seconds=20, timeout_seconds=2
                ),
                Signal.IN_USE: Host(idle_seconds=60),
                Signal.PLACE: MqttTopic(topic="car/place"),
                # Not named, but needed, and this machine knows:
                Signal.UNMETERED: Host(),
                Signal.WIFI: Host(),
                Signal.MACHINE_CELSIUS: Host(),
                Signal.PROGRAM: Host(),
            },
            mqtt=MqttBroker(host="broker.local", port=8883, username="me", password="s3cret", tls=True),
            home_assistant=HomeAssistant(url="http://homeassistant.local:8123", token="t0ken"),
            exclusive_programs=("game",),
            poll_seconds=1.5,
        ),
    )


def test_a_file_that_says_nothing_allows_everything():
    assert parsed("") == Policy()


def test_false_is_as_if_it_were_not_there():
    """Also in need of no source."""
    assert parsed("[when]\nparked = false\n[mqtt]\n[home_assistant]\n[in_use]\nthen = 'ignore'") == Policy()


def test_a_resume_level_may_be_the_limit():
    """Then there is no distance between ending and beginning."""
    policy = parsed("[when]\nbattery_floor_percent = 50\nbattery_resume_percent = 50")

    assert policy.battery_begin_percent == 50


def test_a_file_that_is_not_there_leads_to_init(tmp_path: Path):
    with pytest.raises(
        UsageError, match=r"there is no policy at .*p2pinfer.owner --data-folder .* init` writes one"
    ):
        load_policy(tmp_path / "policy.toml")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match=rf"policy {tmp_path} can't be read"):
        load_policy(tmp_path)


def test_a_file_in_another_encoding_is_refused_with_the_line(tmp_path: Path):
    path = tmp_path / "policy.toml"
    path.write_bytes("version = 1\n# Größe\n".encode("latin-1"))

    with pytest.raises(UsageError, match=r"policy\.toml line 2: this isn't text in UTF-8"):
        load_policy(path)


def test_files_of_other_editors_are_read(tmp_path: Path):
    """A byte order mark, and CR LF."""
    path = tmp_path / "policy.toml"
    path.write_bytes(b"\xef\xbb\xbfversion = 1\r\n[when]\r\nunmetered = true\r\n")

    assert load_policy(path).unmetered


@given(toml_soup | st.text(max_size=20))
@settings(max_examples=300)
def test_any_text_is_either_a_policy_or_refused_with_a_line(text: str):
    with pytest.raises(UsageError, match=r"(?s)^p line \d+: "):
        parse_policy(text, "p")


def test_a_place_that_is_called_like_an_unknown_one_is_an_answer_if_the_owner_lists_it():
    policy = parsed('[when]\nplaces = ["Home", "None"]\n[signals]\nplace = { file = "/run/place" }')

    assert policy.signals.sources[Signal.PLACE] == FileText(
        path="/run/place", meaning=Meaning(names=("None",))
    )


@pytest.mark.parametrize(
    ("setting", "sharing"),
    [
        ("", Sharing()),
        ("sharing = true", Sharing()),
        ("sharing = {}", Sharing()),
        ("sharing = false", Sharing(enabled=False)),
        ("sharing = { mbit_per_s = 5 }", Sharing(mbit_per_s=5)),
        ("sharing.monthly_gb = 0", Sharing(monthly_gb=0)),
    ],
)
def test_sharing_is_on_unless_the_owner_says_no(setting: str, sharing: Sharing):
    assert parsed(f"[limits]\n{setting}").sharing == sharing


@pytest.mark.parametrize(
    ("setting", "relaying"),
    [
        ("", Relaying(monthly_gb=50, mbit_per_s=5)),
        ("relaying = true", Relaying()),
        ("relaying = false", Relaying(enabled=False)),
        ("relaying = { mbit_per_s = 20 }", Relaying(monthly_gb=50, mbit_per_s=20)),
        ("relaying.monthly_gb = 0", Relaying(monthly_gb=0)),
    ],
)
def test_relaying_is_on_with_limits_unless_the_owner_says_otherwise(setting: str, relaying: Relaying):
    assert parsed(f"[limits]\n{setting}").relaying == relaying
