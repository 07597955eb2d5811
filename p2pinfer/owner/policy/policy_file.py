"""Reads the owner's file, `policy.toml`, into a Policy, and names every mistake with its line.

templates.py has a file with all settings and their explanations.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from p2pinfer.errors import UsageError
from p2pinfer.outside.trusted_files import check_only_ours
from p2pinfer.owner.command_text import owner_command
from p2pinfer.owner.plain_file import read_plain_file
from p2pinfer.owner.policy.conditions import SIGNAL_OF, Action, Condition, InUse
from p2pinfer.owner.policy.hours import EXAMPLE, Window, parse_window
from p2pinfer.owner.policy.policy import Policy, Relaying, Sharing
from p2pinfer.owner.policy.sources_file import HOST_SIGNALS, SERVER_SIGNALS, read_signals, with_names
from p2pinfer.owner.policy.tariff import PricedHours, Tariff
from p2pinfer.owner.policy.toml_table import TomlFile, TomlTable
from p2pinfer.owner.signals.config import Host, Source
from p2pinfer.owner.signals.readings import Signal
from p2pinfer.plain_text import printable

VERSION = 1
"""The version of the file's format."""

MOST_BYTES = 64 * 1024
"""Of a policy file. The one that explains every setting has 10 KiB."""

_PERCENT = "a percentage from 0 to 100"
_CELSIUS = "a temperature in °C from -50 to 150"
_SHARE = "a share of the processors from 0.05 to 1, such as 0.5 for half of them,"
_SMALLEST_SHARE = 0.05  # with less, steps take longer than clients wait for them
_LEAST_STALE_SECONDS = 20  # sources that send changes only are confirmed every 15 s
_MOST = 1e9  # prices, watts and gigabytes are smaller
_LEAST_MBIT_PER_S = 0.5  # with less, a chunk takes longer than others wait for it
_MOST_MBIT_PER_S = 1e6
_SHARING_EXAMPLE = "{ monthly_gb = 50, mbit_per_s = 5 }"
_RELAYING_EXAMPLE = "{ monthly_gb = 50, mbit_per_s = 5 }"
_HOURS_EXAMPLE = f"a list such as [{EXAMPLE}]"
_PRICED_EXAMPLE = f"[{{ when = {EXAMPLE}, price = 0.30 }}]"


def load_policy(path: Path) -> Policy:
    """Read the file at `path`.

    Raises UsageError, which lists all mistakes, or says why the file can't be read.
    """
    name = printable(path.name)
    check_only_ours(path, f"policy {path}")
    try:
        data, _ = read_plain_file(path, most_bytes=MOST_BYTES)
    except FileNotFoundError as error:
        init = owner_command("init", path.absolute().parent)
        hint = f": `{init}` writes one" if path.name == "policy.toml" else ""
        raise UsageError(f"there is no policy at {path}{hint}") from error
    except OSError as error:
        raise UsageError(f"policy {path} can't be read ({error.strerror})") from error
    if len(data) > MOST_BYTES:
        raise UsageError(
            f"{name} has more than {MOST_BYTES // 1024} KiB: that is no policy, but another file"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{name} line {line}: this isn't text in UTF-8") from error
    return parse_policy(text, name, folder=path.absolute().parent)


def parse_policy(text: str, name: str, *, folder: Path | None = None) -> Policy:
    """Read the text of a policy file. Messages call it `name`; paths in it are relative to `folder`.

    Reads the files that hold secrets too. Raises UsageError, which lists all mistakes.
    """
    file = TomlFile(text, name)
    root = file.root
    version = root.raw("version")
    if version != VERSION or isinstance(version, bool):
        words = root.shown("version") if "version" in root else "version is missing"
        raise UsageError(f"{name} line {file.line(('version',))}: {words}: version = {VERSION} is expected")

    policy = _read_timing(root.table("timing"), Policy())
    signals = read_signals(root, folder or Path(), policy.stale_seconds)
    when = root.table("when")
    exclusive_programs = when.texts("exclusive_programs", "a list of names of programs")
    policy = replace(policy, signals=replace(signals, exclusive_programs=exclusive_programs))
    policy = _read_conditions(when, policy)
    policy = _read_in_use(root.table("in_use"), policy)
    policy = _read_limits(root.table("limits"), policy)
    policy = _read_tariff(root.table("tariff"), policy)
    policy = _read_energy(root.table("energy"), policy)
    policy = _read_actions(root.table("actions"), policy)
    root.finish()
    policy = _complete(policy, root)
    file.raise_problems()
    return policy


def _read_timing(table: TomlTable, policy: Policy) -> Policy:
    drain_seconds = table.number("drain_seconds", "a number of seconds from 0 to 3600", low=0, high=3600)
    fresh = f"a number of seconds from {_LEAST_STALE_SECONDS} to 3600"
    stale_seconds = table.number("stale_seconds", fresh, low=_LEAST_STALE_SECONDS, high=3600)
    table.finish()
    return replace(
        policy,
        drain_seconds=policy.drain_seconds if drain_seconds is None else drain_seconds,
        stale_seconds=policy.stale_seconds if stale_seconds is None else stale_seconds,
    )


def _read_conditions(table: TomlTable, policy: Policy) -> Policy:
    floor = table.number("battery_floor_percent", _PERCENT, low=0, high=100)
    floor_resume = table.number("battery_resume_percent", _PERCENT, low=0, high=100)
    _check_resume(table, "battery_floor_percent", floor, "battery_resume_percent", floor_resume)
    battery, battery_resume = _read_heat(table, "battery_max_celsius", "battery_resume_celsius")
    machine, machine_resume = _read_heat(table, "machine_max_celsius", "machine_resume_celsius")
    gigabytes = f"a number of gigabytes up to {_MOST:g}"
    policy = replace(
        policy,
        parked=table.flag("parked"),
        plugged_in=table.flag("plugged_in"),
        unmetered=table.flag("unmetered"),
        wifi=table.texts("wifi", "a list of names of networks"),
        places=table.texts("places", "a list of names of places"),
        hours=_read_hours(table),
        max_price=table.number("max_price", "a price", low=-_MOST, high=_MOST),
        battery_floor_percent=floor,
        battery_resume_percent=floor_resume,
        battery_max_celsius=battery,
        battery_resume_celsius=battery_resume,
        machine_max_celsius=machine,
        machine_resume_celsius=machine_resume,
        monthly_traffic_gb=table.number("monthly_traffic_gb", gigabytes, low=0, high=_MOST),
    )
    table.finish()
    return policy


def _read_heat(table: TomlTable, limit_key: str, resume_key: str) -> tuple[float | None, float | None]:
    limit = table.number(limit_key, _CELSIUS, low=-50, high=150)
    resume = table.number(resume_key, _CELSIUS, low=-50, high=150)
    _check_resume(table, limit_key, limit, resume_key, resume)
    return limit, resume


def _check_resume(
    table: TomlTable, limit_key: str, limit: float | None, resume_key: str, resume: float | None
) -> None:
    """The resume level of a floor is above the floor, the resume level of a maximum below the maximum."""
    if resume_key in table and limit_key not in table:
        table.complain(resume_key, f"{table.shown(resume_key)}: it means nothing without {limit_key}")
    elif limit is not None and resume is not None:
        if "floor" in limit_key and resume < limit:
            table.expected(resume_key, f"at least {limit_key} = {limit:g}")
        if "max" in limit_key and resume > limit:
            table.expected(resume_key, f"at most {limit_key} = {limit:g}")


def _read_hours(table: TomlTable) -> tuple[Window, ...]:
    windows = []
    for index, text in enumerate(table.texts("hours", _HOURS_EXAMPLE)):
        try:
            windows.append(parse_window(text))
        except ValueError as error:
            table.item_problem("hours", index, f'hours: "{text}": {error}')
    return tuple(windows)


def _read_in_use(table: TomlTable, policy: Policy) -> Policy:
    then = table.choice("then", InUse)
    share = table.number("cpu_share", _SHARE, low=_SMALLEST_SHARE, high=1)
    table.finish()
    return replace(
        policy,
        in_use=policy.in_use if then is None else then,
        cpu_share_in_use=policy.cpu_share_in_use if share is None else share,
    )


def _read_limits(table: TomlTable, policy: Policy) -> Policy:
    share = table.number("cpu_share", _SHARE, low=_SMALLEST_SHARE, high=1)
    watts = table.number("watts", "a number of watts from 1 on", low=1, high=_MOST)
    sharing_on, shared_gb, sharing_mbit = _read_traffic(table, "sharing", _SHARING_EXAMPLE)
    relaying_on, relayed_gb, relaying_mbit = _read_traffic(table, "relaying", _RELAYING_EXAMPLE)
    table.finish()
    relaying = policy.relaying
    return replace(
        policy,
        cpu_share=policy.cpu_share if share is None else share,
        max_watts=watts,
        sharing=Sharing(enabled=sharing_on, monthly_gb=shared_gb, mbit_per_s=sharing_mbit),
        relaying=Relaying(
            enabled=relaying_on,
            monthly_gb=relaying.monthly_gb if relayed_gb is None else relayed_gb,
            mbit_per_s=relaying.mbit_per_s if relaying_mbit is None else relaying_mbit,
        ),
    )


def _read_traffic(limits: TomlTable, key: str, example: str) -> tuple[bool, float | None, float | None]:
    """A setting that is false, or a table: whether it is on, gigabytes a month, megabits per second."""
    said = limits.raw(key)
    if isinstance(said, bool):
        return said, None, None
    if said is not None and not isinstance(said, dict):
        limits.expected(key, f"false, or a table such as {example},")
        return True, None, None
    table = limits.table(key)
    speed = f"a number of megabits per second from {_LEAST_MBIT_PER_S:g} to {_MOST_MBIT_PER_S:g}"
    monthly_gb = table.number("monthly_gb", f"a number of gigabytes up to {_MOST:g}", low=0, high=_MOST)
    mbit_per_s = table.number("mbit_per_s", speed, low=_LEAST_MBIT_PER_S, high=_MOST_MBIT_PER_S)
    table.finish()
    return True, monthly_gb, mbit_per_s


def _read_tariff(table: TomlTable, policy: Policy) -> Policy:
    currency = table.text("currency", 'a short name such as "EUR"', pattern=r"\S{1,8}") or policy.currency
    if table.raw("price") == "signal":
        if "hours" in table:
            table.raw("hours")
            table.complain("hours", 'hours: price = "signal" says every price already; remove one of the two')
        tariff = Tariff(from_signal=True)
    else:
        price = table.number("price", 'a price of a kWh, or "signal",', low=-_MOST, high=_MOST)
        tariff = Tariff(price=price, hours=_read_priced_hours(table))
        if "hours" in table and "price" not in table:
            table.complain("hours", "[tariff] needs `price`, which counts in all other hours")
    table.finish()
    return replace(policy, currency=currency, tariff=tariff)


def _read_priced_hours(table: TomlTable) -> tuple[PricedHours, ...]:
    priced = []
    for entry in table.tables("hours", _PRICED_EXAMPLE):
        when = entry.text("when", f"a text such as {EXAMPLE}")
        price = entry.number("price", "a price of a kWh", low=-_MOST, high=_MOST)
        for key in ("when", "price"):
            if key not in entry:
                entry.complain(key, f"hours: `{key}` is missing, as in {_PRICED_EXAMPLE}")
        entry.finish()
        if when and price is not None:
            try:
                priced.append(PricedHours(window=parse_window(when), price=price))
            except ValueError as error:
                entry.complain("when", f'when = "{when}": {error}')
    return tuple(priced)


def _read_energy(table: TomlTable, policy: Policy) -> Policy:
    per_core = table.number("watts_per_core", "a number of watts from 0 to 1000", low=0, high=1000)
    idle = table.number("idle_watts", "a number of watts from 0 on", low=0, high=_MOST)
    table.finish()
    return replace(
        policy,
        watts_per_core=policy.watts_per_core if per_core is None else per_core,
        idle_watts=policy.idle_watts if idle is None else idle,
    )


def _read_actions(table: TomlTable, policy: Policy) -> Policy:
    actions: dict[Condition, Action] = {}
    for condition in Condition:
        if condition is not Condition.IN_USE:  # has a table of its own
            action = table.choice(condition, Action, (Action.DRAIN, Action.STOP))
            if action is not None:
                actions[condition] = action
    table.finish()
    return replace(policy, actions=actions)


def _complete(policy: Policy, root: TomlTable) -> Policy:
    """Add this machine as the source of needed signals that it can tell; note what else is missing."""
    when, signals = root.table("when"), root.table("signals")
    sources: dict[Signal, Source] = dict(policy.signals.sources)
    listed = {
        Signal.WIFI: policy.wifi,
        Signal.PLACE: policy.places,
        Signal.PROGRAM: policy.exclusive_programs,
    }
    for named in listed.keys() & sources.keys():
        sources[named] = with_names(sources[named], listed[named])
    for condition in policy.conditions():
        signal = SIGNAL_OF.get(condition)
        if signal is None or signal in signals or signal in SERVER_SIGNALS:
            continue
        if signal in HOST_SIGNALS:
            sources[signal] = Host()
        else:
            when.complain(condition, f"{when.shown(condition)} needs a source: add `{signal}` to [signals]")
    if policy.tariff.from_signal and Signal.PRICE not in signals:
        tariff = root.table("tariff")
        tariff.complain("price", f"{tariff.shown('price')} needs a source: add `price` to [signals]")
    if policy.max_price is not None and "price" not in root.table("tariff"):
        words = "needs a price to compare with: add `price` to [tariff]"
        when.complain("max_price", f"{when.shown('max_price')} {words}")
    if policy.max_watts is not None and policy.max_watts <= policy.idle_watts:
        limits = root.table("limits")
        words = f"the idle machine draws idle_watts = {policy.idle_watts:g}; more than that is expected"
        limits.complain("watts", f"{limits.shown('watts')}: {words}")
    return replace(policy, signals=replace(policy.signals, sources=sources))
