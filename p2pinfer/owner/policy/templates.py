"""The policy file that `init` writes: every setting, explained. The settings that fit the machine are in use.

`#key = value` is a setting that isn't in use. `#   key = value` is another way to write the next setting.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

from p2pinfer.owner.signals.readings import Signal


class MachineKind(StrEnum):
    """The kind of machine that the file is for."""

    HOME = "home"
    LAPTOP = "laptop"
    CAR = "car"


DESCRIPTIONS: Mapping[MachineKind, str] = {
    MachineKind.HOME: "a home machine: it always works, and takes less while somebody uses it",
    MachineKind.LAPTOP: "a laptop: it works while plugged in, charged and on a network that costs nothing",
    MachineKind.CAR: "a car: it works while the car is parked, plugged in and charged, and nobody sits in it",
}

_IN_USE_EVERYWHERE = {"version": "1"}
_IN_USE: Mapping[MachineKind, Mapping[str, str]] = {
    MachineKind.HOME: {"in_use.then": '"limit"', "limits.cpu_share": "0.5"},
    MachineKind.LAPTOP: {
        "when.plugged_in": "true",
        "when.unmetered": "true",
        "when.battery_floor_percent": "50",
        "when.battery_resume_percent": "60",
        "in_use.then": '"limit"',
        "limits.cpu_share": "0.5",
    },
    MachineKind.CAR: {
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
"""The settings in use, and their values. An empty value stands for the value in the text."""

_NEEDS: Mapping[str, Signal] = {
    "when.plugged_in": Signal.PLUGGED_IN,
    "when.unmetered": Signal.UNMETERED,
    "when.battery_floor_percent": Signal.BATTERY_PERCENT,
    "when.battery_resume_percent": Signal.BATTERY_PERCENT,
    "in_use.then": Signal.IN_USE,
}
"""The settings that are in use for some kinds of machine, and the signal that each of them needs."""

_SETTING = re.compile(r"#?([a-z_]+) = (.*)")
_TABLE = re.compile(r"\[([a-z_]+)\]")


def policy_text(kind: MachineKind, unknown: Mapping[Signal, str] | None = None) -> str:
    """The file for a machine of this kind.

    `unknown` has the signals that this machine can't tell, and why. Settings that need one of them stay out
    of use, and the file says why.
    """
    in_use = {**_IN_USE_EVERYWHERE, **_IN_USE[kind]}
    out_of_use = {name: unknown[signal] for name, signal in _NEEDS.items() if unknown and signal in unknown}
    lines, table = [], ""
    for line in _TEXT.replace("DESCRIPTION", DESCRIPTIONS[kind]).splitlines():
        if header := _TABLE.fullmatch(line):
            table = f"{header[1]}."
        setting = _SETTING.fullmatch(line)
        name = table + setting[1] if setting else ""
        if setting is None or name not in in_use:
            lines.append(line)
        elif name in out_of_use:
            lines += [f"# Not in use: {out_of_use[name]}.", line]
        else:
            lines.append(f"{setting[1]} = {in_use[name] or setting[2]}")
    return "\n".join(lines) + "\n"


_TEXT = """\
# p2pinfer: when this machine may work for the swarm, and how much the work may take.
#
# Written for DESCRIPTION.
# Change what you like. Remove the # of a line like #parked = true to use it; add a # to stop using it.
# See what the file means:    python -m p2pinfer.owner check
# A running server reads the file again after each change. A mistake in it stops all work until you fix it.

version = 1


[when]
# The machine works only while ALL conditions in use here are met. What a condition needs to know comes from
# this machine, or from the source in [signals] below. Something that isn't known stops the work.

# The car is parked. (Needs a source in [signals].)
#parked = true

# The machine is plugged in.
#plugged_in = true

# The network is unmetered: not a phone's hotspot, and not marked as metered.
#unmetered = true

# The machine is in one of these Wi-Fi networks.
#wifi = ["my home network"]

# The car is at one of these places, by the names in your car's software. (Needs a source.)
#places = ["Home"]

# The time is in these hours, by the clock of this machine. 22:00-07:00 ends on the next day. Days without
# times are whole days; times without days are for every day.
#hours = ["mon-fri 22:00-07:00", "sat,sun"]

# A kWh costs at most this. (Needs a price in [tariff].)
#max_price = 0.30

# The battery has at least the first percentage. Below it the work ends; it begins again at the second.
#battery_floor_percent = 50
#battery_resume_percent = 60

# The battery is not hotter than the first number, in °C. Work begins again at the second. (Needs a source.)
#battery_max_celsius = 40
#battery_resume_celsius = 35

# The machine's processor is not hotter than the first number, in °C. Work begins again at the second.
#machine_max_celsius = 90
#machine_resume_celsius = 75

# This machine's servers have sent and received fewer gigabytes this month. They count that themselves.
#monthly_traffic_gb = 100

# None of these programs runs. They need the whole machine.
#exclusive_programs = ["steam", "blender"]


[in_use]
# What to do while somebody uses the machine (types or moves the mouse; with a source in [signals]: sits in
# the car). "ignore"; "limit" to the share of the processors below, also while nothing tells whether somebody
# does; "drain": other servers take over, then the work ends; "stop": at once.
#then = "limit"
#cpu_share = 0.25


[limits]
# The most that the work may take of all processors of this machine: 1 is all of them, 0.5 is half.
#cpu_share = 1.0

# The most that the machine may draw while it works, in watts. The work is slowed down to stay below.
#watts = 60

# How much this machine gives of the files of its layers to others who join: gigabytes a month, and megabits
# per second. They count in monthly_traffic_gb too. Without this line there is no limit of their own. Nothing
# is given while clients wait, and little while they are being served. false gives nothing:
#   sharing = false
#sharing = { monthly_gb = 50, mbit_per_s = 5 }

# How much this machine passes on between others whose routers let nobody in, while it serves and is itself
# reachable: gigabytes a month, and megabits per second. Each byte comes in once and goes out once; both count
# in monthly_traffic_gb. These are the defaults. false passes nothing on:
#   relaying = false
#relaying = { monthly_gb = 50, mbit_per_s = 5 }


[tariff]
# What you pay for a kWh, for statements and for max_price. The price is a number, or "signal" if [signals]
# names a source for it.
#currency = "EUR"
#   price = "signal"
#price = 0.32

# Hours with another price. The first match counts.
#hours = [{ when = "22:00-06:00", price = 0.24 }, { when = "sat,sun 06:00-22:00", price = 0.28 }]


[energy]
# watts_per_core is what a busy processor core draws: for estimates, if nothing measures the energy.
# idle_watts is what the idle machine draws; it is subtracted from a meter that [signals] names as `watts`.
#watts_per_core = 8.0
#idle_watts = 0.0


[timing]
# How many seconds other servers have to take over when the work ends by "drain".
#drain_seconds = 60

# After this many seconds without news a signal isn't known any more, which stops the work (in_use with
# "limit": which means the limit).
#stale_seconds = 60


[actions]
# How the work ends when a condition of [when] isn't met any more. "drain": other servers take over first.
# "stop": at once. These are the defaults. A signal that isn't known always stops the work at once.
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
# The MQTT broker of the topics in [signals].
#host = "localhost"
#port = 1883
#username = "me"
# Write the password here, or into a file of its own (a path relative to this file's folder):
#   password_file = "mqtt-password.txt"
#password = "secret"
#tls = true


[home_assistant]
# The Home Assistant of the entities in [signals]. To get a token: your profile in Home Assistant, Security,
# long-lived access tokens. Write it here, or into a file of its own:
#   token_file = "home-assistant-token.txt"
#url = "http://homeassistant.local:8123"
#token = "secret"


[signals]
# The sources of what the conditions above need to know. Each signal has one source:
#   { mqtt = "a/topic" }
#   { home_assistant = "sensor.some_entity" }         its state; an attribute: attribute = "name"
#   { file = "/some/file" }                           the text in it
#   { command = ["program", "argument"] }             what it prints; every_seconds = 10, timeout_seconds = 5
#   { host = true }                                   this machine
# and may have more settings, which say what the source's text means:
#   true_when = ["P", ""]        these texts mean yes, all others mean no
#   false_when = ["D"]           these mean no, all others yes; with both, other texts mean nothing
#                                (unavailable, unknown, none, null and "" mean nothing unless listed)
#   scale = 0.001, offset = 0    a number is multiplied by scale, then offset is added
#   json_path = ["a", "b"]       the text is JSON, and the value is at this path
#   called = "gear"              the name of the value in messages: "gear is D"
#   max_age_seconds = 3600       an older message doesn't count
# The topics here are those of TeslaMate's first car.

# Yes or no: the car is parked. The gear shows it sooner ("" means that the car sleeps). But brokers don't
# keep an empty text: a server that starts while the car sleeps would wait until the car wakes.
#   parked = { mqtt = "teslamate/cars/1/shift_state", true_when = ["P", ""], called = "gear" }
#   parked = { home_assistant = "binary_sensor.car_parking_brake", called = "parking brake" }
#parked = { mqtt = "teslamate/cars/1/state", true_when = ["online", "asleep", "suspended", "charging"] }

# Yes or no: the machine is plugged in.
#   plugged_in = { host = true }
#   plugged_in = { home_assistant = "binary_sensor.car_charger", called = "charger" }
#plugged_in = { mqtt = "teslamate/cars/1/plugged_in" }

# Yes or no: somebody uses the machine, or sits in the car. This machine counts as unused after idle_seconds
# without input:
#   in_use = { host = true, idle_seconds = 300 }
#in_use = { mqtt = "teslamate/cars/1/is_user_present" }

# A number: how full the battery is, in percent.
#   battery_percent = { host = true }
#battery_percent = { mqtt = "teslamate/cars/1/battery_level" }

# A number: the battery's temperature in °C.
#   battery_celsius = { file = "/sys/class/power_supply/BAT0/temp", scale = 0.1 }
#battery_celsius = { home_assistant = "sensor.battery_temperature" }

# A text: the place where the car is.
#   place = { home_assistant = "device_tracker.car" }
#place = { mqtt = "teslamate/cars/1/geofence" }

# Signals that this machine can tell itself. It is asked for them if you name no other source.
#unmetered = { host = true }
#wifi = { host = true }
#program = { host = true }
#machine_celsius = { host = true }

# A number: the present price of a kWh, in the currency of [tariff]. Used with price = "signal" there.
#   price = { mqtt = "evcc/site/tariffGrid" }
#   price = { command = ["/usr/local/bin/price-now"], every_seconds = 30, timeout_seconds = 5 }
#price = { home_assistant = "sensor.electricity_price" }

# A number: what the machine draws now, in watts, by your own meter.
#   watts = { mqtt = "tele/plug/SENSOR", json_path = ["ENERGY", "Power"] }
#watts = { home_assistant = "sensor.plug_power" }

# How often to look at this machine and at files, in seconds.
#poll_seconds = 2.0
"""
