"""The owner's file: what it can say, and that every mistake is named with its line."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.errors import UsageError
from p2pinfer.owner.policy.conditions import Action, Condition, InUse
from p2pinfer.owner.policy.hours import parse_window
from p2pinfer.owner.policy.policy import Policy
from p2pinfer.owner.policy.policy_file import load_policy, parse_policy
from p2pinfer.owner.policy.tariff import PricedHours, Tariff
from p2pinfer.owner.policy.toml_lines import lines_of
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


def problems(text: str) -> list[str]:
    """The lines of the error; the text begins in line 2, because line 1 says the version."""
    with pytest.raises(UsageError) as caught:
        parse_policy(f"version = 1\n{text}", "policy.toml")
    return str(caught.value).splitlines()


def parsed(text: str) -> Policy:
    return parse_policy(f"version = 1\n{text}", "policy.toml")


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


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (
            "[when]\nbattery_floor_percent = 140",
            3,
            "battery_floor_percent = 140: a percentage from 0 to 100 is expected",
        ),
        ("[when]\nbattery_floor_percent = nan", 3, "NaN: a percentage from 0 to 100 is expected"),
        ("[when]\nbattery_floor_percent = true", 3, "= true: a percentage from 0 to 100 is expected"),
        ("[when]\nbattery_floor_percent = '50'", 3, '= "50": a percentage from 0 to 100 is expected'),
        ("[when]\nmachine_max_celsius = inf", 3, "a temperature in °C from -50 to 150 is expected"),
        ("[when]\nplugged_in = 'yes'", 3, 'plugged_in = "yes": true or false is expected'),
        ("[when]\n\n# how\nwifi = []", 5, "wifi = []: a list of names of networks is expected"),
        (
            "[when]\nwifi = [\n'home',\n7]",
            5,
            "wifi: 7 is among them, but a list of names of networks is expected",
        ),
        ("[when]\nplaces = ['']", 3, 'places: "" is among them'),
        (
            "[when]\nhours = ['mon 7-8']",
            3,
            'hours: "mon 7-8": hours such as "mon-fri 22:00-07:00" are expected',
        ),
        ("[when]\nhours = ['sat',\n'mon 07:00-25:00']", 4, "25:00 is no time of the day"),
        (
            "[when]\nplugged_inn = true",
            3,
            "plugged_inn: [when] has no such setting (do you mean plugged_in?)",
        ),
        ("[when]\nzebra = 1", 3, "zebra: [when] has no such setting"),
        ("wehn = 1", 2, "wehn: the file has no such setting (do you mean when?)"),
        ("[[when]]\nparked = true", 2, "a table, such as [when], is expected"),
        (
            "[when]\nbattery_resume_percent = 60",
            3,
            "battery_resume_percent = 60: it means nothing without battery_floor_percent",
        ),
        (
            "[when]\nbattery_floor_percent = 50\nbattery_resume_percent = 40",
            4,
            "battery_resume_percent = 40: at least battery_floor_percent = 50 is expected",
        ),
        (
            "[when]\nmachine_resume_celsius = 95\nmachine_max_celsius = 90",
            3,
            "machine_resume_celsius = 95: at most machine_max_celsius = 90 is expected",
        ),
        ("[when]\nparked = true", 3, "parked = true needs a source: add `parked` to [signals]"),
        ("[when]\nplaces = ['x']", 3, 'places = ["x"] needs a source: add `place` to [signals]'),
        ("[when]\nbattery_max_celsius = 40", 3, "needs a source: add `battery_celsius` to [signals]"),
        ("[when]\nmax_price = 0.3", 3, "needs a price to compare with: add `price` to [tariff]"),
        ("[tariff]\nprice = 'signal'", 3, 'price = "signal" needs a source: add `price` to [signals]'),
        ("[tariff]\nprice = 'cheap'", 3, 'price = "cheap": a price of a kWh, or "signal", is expected'),
        ("[tariff]\nhours = [{ when = 'sat', price = 1 }]", 3, "needs `price`, which counts in all other"),
        ("[tariff]\nprice = 1\nhours = [\n{ when = 'sat' }]", 5, "hours: `price` is missing"),
        ("[tariff]\nprice = 1\nhours = [{ when = 'xx', price = 1 }]", 4, '"xx" is no day'),
        (
            "[tariff]\nprice = 1\n[[tariff.hours]]\nwhen = 'sat'\nprice = 'x'",
            6,
            "a price of a kWh is expected",
        ),
        ("[tariff]\nprice = 1\nhours = 'sat'", 4, "a list such as"),
        (
            "[tariff]\nprice = 'signal'\nhours = []\n[signals]\nprice = { file = 'x' }",
            4,
            "tells every price already",
        ),
        ("[tariff]\ncurrency = 'Swiss francs'", 3, 'a short name such as "EUR" is expected'),
        ("[in_use]\nthen = 'limt'", 3, '"stop" is expected (do you mean limit?)'),
        ("[in_use]\nthen = ['limit']", 3, 'then = ["limit"]: "ignore" or "limit" or "drain" or "stop" is'),
        ("[limits]\ncpu_share = 50", 3, "cpu_share = 50: a share of the processors from 0.05 to 1"),
        ("[limits]\ncpu_share = 0", 3, "a share of the processors from 0.05 to 1"),
        (
            "[limits]\nwatts = 40\n[energy]\nidle_watts = 50",
            3,
            "draws idle_watts = 50 anyway; more than that",
        ),
        ("[timing]\nstale_seconds = 15", 3, "a number of seconds from 20 to 3600 is expected"),
        ("[actions]\nparked = 'run'", 3, 'parked = "run": "drain" or "stop" is expected'),
        ("[actions]\nin_use = 'stop'", 3, "in_use: [actions] has no such setting"),
        ("[mqtt]\nport = 1883", 2, "[mqtt] needs `host`"),
        ("[mqtt]\nhost = 'mqtt://broker'", 3, "the name or address of a machine"),
        ("[mqtt]\nhost = 'a'\nport = 1883.5", 4, "a whole number from 1 to 65535 is expected"),
        ("[mqtt]\nhost = 'a'\nport = 70000", 4, "a whole number from 1 to 65535 is expected"),
        ("[home_assistant]\nurl = 'http://a'", 2, "needs `token` or `token_file`"),
        ("[home_assistant]\ntoken = 't'", 2, "needs `url`"),
        ("[home_assistant]\ntoken = 't'\nurl = 'homeassistant.local'", 4, "an address such as http://"),
        ("[home_assistant]\ntoken = 't'\nurl = 'http://a:b:c'", 4, "an address such as http://"),
        (
            "[signals]\nparkd = { mqtt = 'a' }",
            3,
            "parkd: [signals] has no such setting (do you mean parked?)",
        ),
        ("[signals]\nparked = 'car/gear'", 3, 'a table, such as { mqtt = "some/topic" }, is expected'),
        ("[signals]\nparked = {}", 3, "parked: exactly one source is expected"),
        ("[signals]\nparked = { mqtt = 'a', file = 'b' }", 3, "parked: exactly one source is expected"),
        ("[signals]\nparked = { mqtt = 'a' }", 3, "parked: mqtt a needs `host` in the table [mqtt]"),
        (
            "[signals]\nparked = { home_assistant = 'sensor.a' }",
            3,
            "needs `url` and a token in the table [home_assistant]",
        ),
        (
            "[signals]\nparked = { mqtt = 'a/#' }\n[mqtt]\nhost = 'a'",
            3,
            "a topic without + and # is expected",
        ),
        (
            "[signals]\nparked.home_assistant = 'A'\n[home_assistant]\nurl = 'http://a'\ntoken = 't'",
            3,
            "an entity such as binary_sensor.some_name is",
        ),
        ("[signals]\nparked = { host = true }", 3, "parked: this machine can't tell that"),
        ("[signals]\nwifi = { host = false }", 3, "host = false: true is expected"),
        ("[signals]\nwifi = { host = true, idle_seconds = 5 }", 3, "[signals.wifi] has no such setting"),
        ("[signals]\nwifi = { file = 'x', scale = 2 }", 3, "scale: [signals.wifi] has no such setting"),
        ("[signals]\nwifi = { file = 'x', true_when = ['a'] }", 3, "true_when: [signals.wifi] has no such"),
        ("[signals]\nprice = { file = 'x', scale = 0 }", 3, "a number other than 0 is expected"),
        ("[signals]\nprice = { file = 'x', max_age_seconds = 0 }", 3, "a number of seconds larger than 0"),
        (
            "[signals]\nparked = { file = 'x', true_when = ['a', 'b'], false_when = ['b'] }",
            3,
            'false_when: "b" is in true_when too',
        ),
        ("[signals]\nprice = { command = [] }", 3, 'a list such as ["program", "argument"] is expected'),
        (
            "[signals]\nprice = { command = ['', 'x'] }",
            3,
            'a list such as ["program", "argument"] is expected',
        ),
        ("[signals]\nprice = { command = ['x'], every_seconds = 58 }", 3, "would be stale again and again"),
        ("[signals]\ntraffic_bytes = { file = 'x' }", 3, "the server counts this itself"),
        ("[signals]\npoll_seconds = 40", 3, "half of stale_seconds is expected"),
        ("[signals.parked]\nmqtt = 'a'\nbroker = 'b'\n[mqtt]\nhost = 'x'", 4, "[signals.parked] has no such"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, line: int, words: str):
    """And nothing else is said to be wrong."""
    (problem,) = problems(text)

    assert problem.startswith(f"policy.toml line {line}: ")
    assert words in problem


def test_a_resume_level_may_be_the_limit():
    """Then there is no distance between ending and beginning."""
    policy = parsed("[when]\nbattery_floor_percent = 50\nbattery_resume_percent = 50")

    assert policy.battery_begin_percent == 50


def test_a_command_that_takes_all_the_time_until_stale_is_refused():
    (problem,) = problems("[signals]\nprice = { command = ['x'], every_seconds = 55, timeout_seconds = 5 }")

    assert "together must be less than stale_seconds = 60" in problem


def test_all_mistakes_are_told_in_the_order_of_their_lines():
    text = "[timing]\nstale_seconds = -1\n[when]\nparked = 1\nwifi = 2\n[in_use]\nthen = 3"

    assert [problem.split(":")[0] for problem in problems(text)] == [
        f"policy.toml line {line}" for line in (3, 5, 6, 8)
    ]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "version is missing: version = 1 is expected"),
        ("# mine\nversion = 2", 2, "version = 2: version = 1 is expected"),
        ("version = true", 1, "version = true: version = 1 is expected"),
        ("version = 1\n[when\nparked = true", 2, "Expected"),
        ("version = 1\n[when]\nparked = yes", 3, "Invalid value"),
        ("version = 1\n[when]\nparked = true\nparked = true", 4, "Cannot overwrite a value"),
        ("version = 1\n[when]\nwifi = [", 3, "Invalid value"),
    ],
)
def test_what_is_no_such_file_at_all_is_named_with_its_line(text: str, line: int, words: str):
    with pytest.raises(UsageError, match=f"^policy.toml line {line}: .*{words}"):
        parse_policy(text, "policy.toml")


def test_secrets_are_in_no_message_and_no_repr():
    """Not even where they are wrong."""
    (problem,) = problems("[mqtt]\nhost = 'a'\npassword = 12345678")
    assert problem == "policy.toml line 4: password: a text is expected"

    policy = parsed(
        "[mqtt]\nhost = 'a'\npassword = 's3cret'\n[home_assistant]\nurl = 'http://a'\ntoken = 't0k'"
    )
    assert "s3cret" not in repr(policy) and "t0k" not in repr(policy)


def test_secrets_can_stand_in_files_of_their_own(tmp_path: Path):
    """Found from the policy's folder on, whatever the working folder is."""
    (tmp_path / "password.txt").write_text("s3cret\n")
    (tmp_path / "policy.toml").write_text(
        "version = 1\n[mqtt]\nhost = 'a'\npassword_file = 'password.txt'\n"
        f"[home_assistant]\nurl = 'http://a'\ntoken_file = '{tmp_path}/password.txt'\n"
        "[signals]\nprice = { file = 'price.txt' }\nwatts = { command = ['bin/watts', 'bin/x'] }\n"
    )
    signals = load_policy(tmp_path / "policy.toml").signals

    assert signals.mqtt is not None and signals.mqtt.password == "s3cret"
    assert signals.home_assistant is not None and signals.home_assistant.token == "s3cret"
    assert signals.sources[Signal.PRICE] == FileText(path=f"{tmp_path}/price.txt")
    assert signals.sources[Signal.WATTS] == Command(arguments=(f"{tmp_path}/bin/watts", "bin/x"))


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "can't be read"), (b"\n", "first line of the file is empty"), (b"\xff", "isn't text in UTF-8")],
)
def test_a_secret_that_cannot_be_had_is_a_mistake(tmp_path: Path, content: bytes | None, words: str):
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    text = "version = 1\n[mqtt]\nhost = 'a'\npassword_file = 'secret'"

    with pytest.raises(UsageError, match=f'^p line 4: password_file = "secret": .*{words}'):
        parse_policy(text, "p", folder=tmp_path)


def test_one_place_for_a_secret_is_enough():
    (problem,) = problems("[mqtt]\nhost = 'a'\npassword = 'x'\npassword_file = 'y'")

    assert problem == "policy.toml line 5: password_file: there is `password` too; one of them is enough"


def test_a_path_may_begin_in_the_home_folder(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/someone")
    policy = parsed("[signals]\nprice = { file = '~/price' }\nwatts = { command = ['~/watts'] }")

    assert policy.signals.sources == {
        Signal.PRICE: FileText(path="/home/someone/price"),
        Signal.WATTS: Command(arguments=("/home/someone/watts",)),
    }


def test_a_file_that_is_not_there_leads_to_init(tmp_path: Path):
    with pytest.raises(UsageError, match=r"there is no policy at .*p2pinfer.owner init. writes one"):
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


# Lines.


def test_lines_are_found_in_every_way_to_write_toml():
    text = '''# a comment with [brackets] and = signs
top = "a # no comment" # a comment
"quoted key".'x' = 1
[a . b] # c
c.d = [ # e
  1, "]", # ]
  [2,
   3], { f = """
]] {
""", g = [
  4 ] },
]
h = {i = {j = 1, "k.l" = 2}, m=5}
time = 07:32:00
[[list]]
x = 1
[list.inner]
y = 2
[[list]]
x = \'\'\'
a = 1\'\'\'
z = ''
'''
    lines = lines_of(text)

    assert lines == {
        ("top",): 2,
        ("quoted key",): 3,
        ("quoted key", "x"): 3,
        ("a", "b"): 4,
        ("a", "b", "c"): 5,
        ("a", "b", "c", "d"): 5,
        ("a", "b", "c", "d", 0): 6,
        ("a", "b", "c", "d", 1): 6,
        ("a", "b", "c", "d", 2): 7,
        ("a", "b", "c", "d", 2, 0): 7,
        ("a", "b", "c", "d", 2, 1): 8,
        ("a", "b", "c", "d", 3): 8,
        ("a", "b", "c", "d", 3, "f"): 8,
        ("a", "b", "c", "d", 3, "g"): 10,
        ("a", "b", "c", "d", 3, "g", 0): 11,
        ("a", "b", "h"): 13,
        ("a", "b", "h", "i"): 13,
        ("a", "b", "h", "i", "j"): 13,
        ("a", "b", "h", "i", "k.l"): 13,
        ("a", "b", "h", "m"): 13,
        ("a", "b", "time"): 14,
        ("list",): 15,
        ("list", 0): 15,
        ("list", 0, "x"): 16,
        ("list", 0, "inner"): 17,
        ("list", 0, "inner", "y"): 18,
        ("list", 1): 19,
        ("list", 1, "x"): 20,
        ("list", 1, "z"): 22,
    }
    tomllib.loads(text)


toml_soup = st.lists(
    st.sampled_from(
        [
            "[",
            "]",
            "{",
            "}",
            "[[",
            "]]",
            "=",
            ",",
            ".",
            "\n",
            "#",
            '"',
            "'",
            '"""',
            "a",
            "b",
            "1",
            " ",
            "\\",
            "a = 1\n",
        ]
    ),
    max_size=14,
).map("".join)


@given(toml_soup | st.text(max_size=20))
@settings(max_examples=300, deadline=None)
def test_any_text_is_either_a_policy_or_refused_with_a_line(text: str):
    with pytest.raises(UsageError, match=r"(?s)^p line \d+: "):
        parse_policy(text, "p")


@given(toml_soup)
@settings(max_examples=300, deadline=None)
def test_every_setting_that_tomllib_reads_has_a_line(text: str):
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return

    def places(value: object, place: tuple[str | int, ...] = ()):
        if place:
            yield place
        items = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        )
        for key, item in items:
            yield from places(item, (*place, key))

    lines = lines_of(text)
    # `[a.b]` says that there is `a`, but has no line of its own for it.
    assert {place for place in places(values) if not isinstance(_at(values, place), dict)} <= set(lines)
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())


def _at(values: object, place: tuple[str | int, ...]) -> object:
    for key in place:
        values = values[key]  # type: ignore[index]
    return values
