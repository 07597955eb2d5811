"""The policy file that `init` writes: every setting there is, explained; those that fit are in use.

`#key = value` is a setting that isn't in use; `#   key = value`, another way to write the next one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum


class Kind(StrEnum):
    """What sort of machine the file is for."""

    HOME = "home"
    LAPTOP = "laptop"
    CAR = "car"


DESCRIPTIONS: Mapping[Kind, str] = {
    Kind.HOME: "a home machine: it always works, and takes little while somebody uses it",
    Kind.LAPTOP: "a laptop: it works while it is plugged in, charged and on a network that costs nothing",
    Kind.CAR: "a car: it works while the car is parked, plugged in and charged, and nobody sits in it",
}

_IN_USE_EVERYWHERE = {"version": "1"}
_IN_USE: Mapping[Kind, Mapping[str, str]] = {
    Kind.HOME: {"in_use.then": '"limit"', "limits.cpu_share": "0.5"},
    Kind.LAPTOP: {
        "when.plugged_in": "true",
        "when.unmetered": "true",
        "when.battery_floor_percent": "50",
        "when.battery_resume_percent": "60",
        "in_use.then": '"limit"',
        "limits.cpu_share": "0.5",
    },
    Kind.CAR: {
        "when.parked": "true",
        "when.plugged_in": "true",
        "when.battery_floor_percent": "50",
        "when.battery_resume_percent": "60",
        "in_use.then": '"drain"',
        "mqtt.host": '"localhost"',
        "signals.parked": "",
        "signals.plugged_in": "",
        "signals.in_use": "",
        "signals.battery_percent": "",
    },
}
"""The settings in use, and their values; an empty one is the value that the text has."""

_SETTING = re.compile(r"#?([a-z_]+) = (.*)")
_TABLE = re.compile(r"\[([a-z_]+)\]")


def policy_text(kind: Kind) -> str:
    """The file for a machine of this kind."""
    in_use = {**_IN_USE_EVERYWHERE, **_IN_USE[kind]}
    lines, table = [], ""
    for line in _TEXT.replace("DESCRIPTION", DESCRIPTIONS[kind]).splitlines():
        if header := _TABLE.fullmatch(line):
            table = f"{header[1]}."
        setting = _SETTING.fullmatch(line)
        if setting and table + setting[1] in in_use:
            lines.append(f"{setting[1]} = {in_use[table + setting[1]] or setting[2]}")
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


_TEXT = """\
# p2pinfer: when this machine may work for the swarm, and how much it may take.
#
# Written for DESCRIPTION.
# Change what you like: take the # away from a line like #parked = true to use it, or put one in front of it.
# See what it means with    python -m p2pinfer.owner check
# A running server reads the file again when it has changed; one with mistakes stops all work until mended.

version = 1


[when]
# The machine works only while ALL lines in use here hold. What a line needs to know comes from this
# machine where it can tell, or from where [signals] says, below. Whatever isn't known stops the work.

# The car is in P. (Needs a source in [signals].)
#parked = true

# It draws no power from its battery.
#plugged_in = true

# The network doesn't count bytes: not a phone's hotspot, not marked as metered.
#unmetered = true

# It is on one of these Wi-Fi networks.
#wifi = ["my home network"]

# It is at one of these places, by the names that your car's software has for them. (Needs a source.)
#places = ["Home"]

# It is one of these hours, by the clock of this machine. 22:00-07:00 ends on the next day; days alone are
# whole days; times alone are of every day.
#hours = ["mon-fri 22:00-07:00", "sat,sun"]

# A kWh costs at most so much. (Needs a price in [tariff].)
#max_price = 0.30

# The battery has at least so much. Below that the work ends, and begins again at the second number.
#battery_floor_percent = 50
#battery_resume_percent = 60

# The battery is not hotter than this. Work begins again at the second number. (Needs a source.)
#battery_max_celsius = 40
#battery_resume_celsius = 35

# The machine's processor is not hotter than this.
#machine_max_celsius = 90
#machine_resume_celsius = 75

# Less than so many gigabytes have been sent and received this month. The server counts what it uses itself.
#monthly_traffic_gb = 100

# None of these programs runs: while one does, the machine is its.
#exclusive_programs = ["steam", "blender"]


[in_use]
# What to do while somebody uses the machine (types, moves the mouse; with a source in [signals], sits in
# the car): "ignore", "limit" to the share of the processors below, "drain" or "stop".
#then = "limit"
#cpu_share = 0.25


[limits]
# The most that the work may take of all processors of this machine: 1 is all of them, 0.5 half.
#cpu_share = 1.0

# The most that the machine may draw while it works, in watts. The work is slowed down to keep to it.
#watts = 60


[tariff]
# What you pay for a kWh: for statements, and for max_price. The price is a number, or "signal" if
# [signals] says where to learn it.
#currency = "EUR"
#   price = "signal"
#price = 0.32

# Hours with another price; the first that fits counts.
#hours = [{ when = "22:00-06:00", price = 0.24 }, { when = "sat,sun 06:00-22:00", price = 0.28 }]


[energy]
# How the energy in statements is estimated where nothing measures it: what a busy processor core draws,
# and, for a meter that [signals] names as `watts`, what the machine draws anyway, without us.
#watts_per_core = 8.0
#idle_watts = 0.0


[timing]
# So many seconds others have to take over when the work ends politely ("drain").
#drain_seconds = 60

# What hasn't been heard of for so many seconds isn't known any more, and stops the work.
#stale_seconds = 60


[actions]
# How the work ends when a line of [when] doesn't hold any more: "drain" lets others take over first,
# "stop" is at once. These are the defaults. What isn't known always stops.
#parked = "drain"
#plugged_in = "drain"
#unmetered = "drain"
#wifi = "drain"
#places = "drain"
#hours = "drain"
#max_price = "drain"
#battery_floor_percent = "drain"
#battery_max_celsius = "stop"
#machine_max_celsius = "stop"
#monthly_traffic_gb = "drain"
#exclusive_programs = "drain"


[mqtt]
# The MQTT broker that topics in [signals] are read from.
#host = "localhost"
#port = 1883
#username = "me"
# The password can stand here, or alone in a file (a path from this file's folder on):
#   password_file = "mqtt-password.txt"
#password = "secret"
#tls = true


[home_assistant]
# The Home Assistant that entities in [signals] are read from. A token: your profile there, Security,
# long-lived access tokens. It can stand here, or alone in a file:
#   token_file = "home-assistant-token.txt"
#url = "http://homeassistant.local:8123"
#token = "secret"


[signals]
# Where to learn what the lines above need to know. Each signal has one source:
#   { mqtt = "a/topic" }
#   { home_assistant = "sensor.some_entity" }         its state; attribute = "name" for an attribute
#   { file = "/some/file" }                           the text in it
#   { command = ["program", "argument"] }             what it prints; every_seconds = 10, timeout_seconds = 5
#   { host = true }                                   this machine
# and may say how the source's text is meant:
#   true_when = ["P", ""]        these texts mean yes, all others no
#   false_when = ["D"]           these mean no, all others yes; with both, all others mean nothing
#   scale = 0.001, offset = 0    a number is multiplied, then added to
#   json_path = ["a", "b"]       the text is JSON, and the value lies there
#   called = "gear"              what the source tells, for messages: "gear is D"
#   max_age_seconds = 3600       what was published longer ago doesn't count
# The topics here are TeslaMate's, of the first car.

# Yes or no: the car is parked. By its gear ("" means that the car sleeps) you see the change sooner, but the
# broker doesn't keep an empty text: a server that is started while the car sleeps would wait for it to wake.
#   parked = { mqtt = "teslamate/cars/1/shift_state", true_when = ["P", ""], called = "gear" }
#   parked = { home_assistant = "binary_sensor.car_parking_brake", called = "parking brake" }
#parked = { mqtt = "teslamate/cars/1/state", true_when = ["online", "asleep", "suspended", "charging"] }

# Yes or no: it is plugged in.
#   plugged_in = { host = true }
#   plugged_in = { home_assistant = "binary_sensor.car_charger", called = "charger" }
#plugged_in = { mqtt = "teslamate/cars/1/plugged_in" }

# Yes or no: somebody uses the machine, or sits in the car. This machine takes it as unused when nobody has
# touched it for so many seconds:
#   in_use = { host = true, idle_seconds = 300 }
#in_use = { mqtt = "teslamate/cars/1/is_user_present" }

# A number: how full the battery is, in percent.
#   battery_percent = { host = true }
#battery_percent = { mqtt = "teslamate/cars/1/battery_level" }

# A number: the battery's temperature in °C.
#   battery_celsius = { file = "/sys/class/power_supply/BAT0/temp", scale = 0.1 }
#battery_celsius = { home_assistant = "sensor.battery_temperature" }

# A text: the place where it is.
#   place = { home_assistant = "device_tracker.car" }
#place = { mqtt = "teslamate/cars/1/geofence" }

# What this machine can tell of itself, and is asked for if you say nothing else.
#unmetered = { host = true }
#wifi = { host = true }
#program = { host = true }
#machine_celsius = { host = true }

# A number: the price of a kWh now, in the currency of [tariff]; for price = "signal" there.
#   price = { mqtt = "evcc/site/tariffGrid" }
#   price = { command = ["/usr/local/bin/price-now"], every_seconds = 30, timeout_seconds = 5 }
#price = { home_assistant = "sensor.electricity_price" }

# A number: what the machine draws now, in watts, by a meter of yours.
#   watts = { mqtt = "tele/plug/SENSOR", json_path = ["ENERGY", "Power"] }
#watts = { home_assistant = "sensor.plug_power" }

# How often this machine and files are asked, in seconds.
#poll_seconds = 2.0
"""
