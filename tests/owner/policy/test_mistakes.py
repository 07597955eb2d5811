"""Every mistake in a policy file is named with its line."""

from __future__ import annotations

import pytest

from p2pinfer.errors import UsageError
from p2pinfer.owner.policy.policy_file import parse_policy
from tests.owner.policy.reading import problems


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
        ("[when]\nhours = ['sat',\n'mon 07:00-25:00']", 4, "25:00 is not a time of day"),
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
        (
            "[limits]\nsharing = 5",
            3,
            "sharing = 5: false, or a table such as { monthly_gb = 50, mbit_per_s = 5 }, is expected",
        ),
        (
            "[limits]\nrelaying = 5",
            3,
            "relaying = 5: false, or a table such as { monthly_gb = 50, mbit_per_s = 5 }, is expected",
        ),
        (
            "[limits]\nrelaying = { monthly_gb = 5, mbit_per_s = 0.1 }",
            3,
            "mbit_per_s = 0.1: a number of megabits per second from 0.5 to 1e+06 is expected",
        ),
        ("[limits]\nsharing = { monthly_gb = -1 }", 3, "a number of gigabytes up to 1e+09 is expected"),
        (
            "[limits]\nsharing = { monthly_gb = 5, mbit_per_s = 0 }",
            3,
            "mbit_per_s = 0: a number of megabits per second from 0.5 to 1e+06 is expected",
        ),
        (
            "[limits.sharing]\nmonthly_gb = 5\nmbits_per_s = 5",
            4,
            "mbits_per_s: [limits.sharing] has no such setting (do you mean mbit_per_s?)",
        ),
        ("[when]\nparked = true", 3, "parked = true needs a source: add `parked` to [signals]"),
        ("[when]\nplaces = ['x']", 3, 'places = ["x"] needs a source: add `place` to [signals]'),
        ("[when]\nbattery_max_celsius = 40", 3, "needs a source: add `battery_celsius` to [signals]"),
        ("[when]\nmax_price = 0.3", 3, "needs a price to compare with: add `price` to [tariff]"),
        ("[tariff]\nprice = 'signal'", 3, 'price = "signal" needs a source: add `price` to [signals]'),
        ("[tariff]\nprice = 'cheap'", 3, 'price = "cheap": a price of a kWh, or "signal", is expected'),
        ("[tariff]\nhours = [{ when = 'sat', price = 1 }]", 3, "needs `price`, which counts in all other"),
        ("[tariff]\nprice = 1\nhours = [\n{ when = 'sat' }]", 5, "hours: `price` is missing"),
        ("[tariff]\nprice = 1\nhours = [{ when = 'xx', price = 1 }]", 4, '"xx" is not a day'),
        (
            "[tariff]\nprice = 1\n[[tariff.hours]]\nwhen = 'sat'\nprice = 'x'",
            6,
            "a price of a kWh is expected",
        ),
        ("[tariff]\nprice = 1\nhours = 'sat'", 4, "a list such as"),
        (
            "[tariff]\nprice = 'signal'\nhours = []\n[signals]\nprice = { file = 'x' }",
            4,
            "says every price already",
        ),
        ("[tariff]\ncurrency = 'Swiss francs'", 3, 'a short name such as "EUR" is expected'),
        ("[in_use]\nthen = 'limt'", 3, '"stop" is expected (do you mean limit?)'),
        ("[in_use]\nthen = ['limit']", 3, 'then = ["limit"]: "ignore" or "limit" or "drain" or "stop" is'),
        ("[limits]\ncpu_share = 50", 3, "cpu_share = 50: a share of the processors from 0.05 to 1"),
        ("[limits]\ncpu_share = 0", 3, "a share of the processors from 0.05 to 1"),
        (
            "[limits]\nwatts = 40\n[energy]\nidle_watts = 50",
            3,
            "the idle machine draws idle_watts = 50; more than that",
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
