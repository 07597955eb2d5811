"""Reads the sources of signals in the owner's file: [mqtt], [home_assistant] and [signals]."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from p2pinfer.owner.plain_file import read_plain_file
from p2pinfer.owner.policy.certainty import describe_source
from p2pinfer.owner.policy.toml_table import TomlTable
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
    Source,
)
from p2pinfer.owner.signals.meaning import is_no_answer
from p2pinfer.owner.signals.readings import KINDS, Signal

HOST_SIGNALS = frozenset(
    {
        Signal.PLUGGED_IN,
        Signal.UNMETERED,
        Signal.WIFI,
        Signal.IN_USE,
        Signal.PROGRAM,
        Signal.BATTERY_PERCENT,
        Signal.MACHINE_CELSIUS,
    }
)
"""The signals that this machine can tell without a line in [signals]."""

SERVER_SIGNALS = frozenset({Signal.TRAFFIC_BYTES})
"""The signals that the server itself counts."""

_SECRET_BYTES = 4096
_EXAMPLES = 'mqtt = "some/topic", home_assistant = "sensor.some", file = "/a/file", command = ["program"]'
_TOPIC = r"[^\x00-\x1f#+]+"
_ENTITY = r"[a-z0-9_]+\.[a-z0-9_]+"


def read_signals(root: TomlTable, folder: Path, stale_seconds: float) -> SignalsConfig:
    """Read the sources of signals; problems are noted in the file. Paths are relative to `folder`.

    The caller adds `exclusive_programs`, and this machine as the source of signals without a line.
    """
    defaults = SignalsConfig()
    mqtt = _read_broker(root.table("mqtt"), folder)
    home_assistant = _read_home_assistant(root.table("home_assistant"), folder)
    table = root.table("signals")
    poll_seconds = table.number(
        "poll_seconds", f"a number of seconds from 0.1 to {stale_seconds / 2:g}, half of stale_seconds",
        low=0.1, high=stale_seconds / 2,
    )  # fmt: skip
    sources: dict[Signal, Source] = {}
    for signal in Signal:
        if signal in table:
            source = _read_source(table, signal, folder, stale_seconds)
            if source is not None:
                sources[signal] = source
            if isinstance(source, MqttTopic) and mqtt is None:
                table.complain(
                    signal, f"{signal}: {describe_source(source)} needs `host` in the table [mqtt]"
                )
            if isinstance(source, Entity) and home_assistant is None:
                what = "`url` and a token in the table [home_assistant]"
                table.complain(signal, f"{signal}: {describe_source(source)} needs {what}")
    table.finish(also=tuple(Signal))
    return SignalsConfig(
        sources=sources,
        mqtt=mqtt,
        home_assistant=home_assistant,
        poll_seconds=defaults.poll_seconds if poll_seconds is None else poll_seconds,
    )


def with_names(source: Source, names: Collection[str]) -> Source:
    """The source, for which those of the owner's names that look like "I don't know" are answers."""
    odd = tuple(name for name in names if is_no_answer(name))
    if isinstance(source, Host) or not odd:
        return source
    return replace(source, meaning=replace(source.meaning, names=odd))


def _read_broker(table: TomlTable, folder: Path) -> MqttBroker | None:
    """The broker; None if the table is missing or empty."""
    defaults = MqttBroker(host="")
    given = table.raw("host")
    host = table.text(
        "host",
        "the name or address of a machine, without port, user and password,",
        pattern=r"[^\s/@]+",
        secret=isinstance(given, str) and "@" in given,
    )
    port = table.number("port", "a whole number from 1 to 65535", low=1, high=65535, whole=True)
    broker = MqttBroker(
        host=host,
        port=defaults.port if port is None else int(port),
        username=table.text("username", "a text"),
        password=_read_secret(table, "password", folder),
        tls=table.flag("tls"),
    )
    if table and "host" not in table:
        table.complain("host", "[mqtt] needs `host`, the machine that the broker runs on")
    table.finish()
    return broker if table else None


def _read_home_assistant(table: TomlTable, folder: Path) -> HomeAssistant | None:
    """Home Assistant; None if the table is missing or empty."""
    url = table.text(
        "url", "an address such as http://homeassistant.local:8123", pattern=r"https?://[^\s/]+\S*"
    )
    if url and not _is_url(url):
        table.expected("url", "an address such as http://homeassistant.local:8123")
    token = _read_secret(table, "token", folder)
    if table:
        if "url" not in table:
            table.complain("url", "[home_assistant] needs `url`, such as http://homeassistant.local:8123")
        if "token" not in table and "token_file" not in table:
            table.complain(
                "token", "[home_assistant] needs `token` or `token_file`, a long-lived access token"
            )
    table.finish()
    return HomeAssistant(url=url, token=token) if table else None


def _is_url(text: str) -> bool:
    try:
        return bool(urlsplit(text).hostname) and urlsplit(text).port != 0
    except ValueError:
        return False


def _read_secret(table: TomlTable, key: str, folder: Path) -> str:
    """The secret `key`, or the first line of the file that `key_file` names."""
    file_key = f"{key}_file"
    secret = table.text(key, "a text", secret=True)
    name = table.text(file_key, "the path of a file")
    if not name:
        return secret
    if key in table:
        table.complain(file_key, f"{file_key}: there is `{key}` too; one of the two is enough")
        return secret
    try:
        content, _ = read_plain_file(_path(name, folder), most_bytes=_SECRET_BYTES)
        lines = content.decode().splitlines()
    except OSError as error:
        table.complain(file_key, f"{table.shown(file_key)}: the file can't be read ({error.strerror})")
        return ""
    except UnicodeDecodeError:
        table.complain(file_key, f"{table.shown(file_key)}: the file isn't text in UTF-8")
        return ""
    if len(content) > _SECRET_BYTES:
        table.complain(file_key, f"{table.shown(file_key)}: the file is too long for a secret")
        return ""
    if not lines or not lines[0].strip():
        table.complain(file_key, f"{table.shown(file_key)}: the first line of the file is empty")
        return ""
    return lines[0].strip()


def _read_source(table: TomlTable, signal: Signal, folder: Path, stale_seconds: float) -> Source | None:
    """The source of one signal; None, and a noted problem, if it is wrong."""
    if signal in SERVER_SIGNALS:
        table.raw(signal)
        table.complain(signal, f"{signal}: the server counts this itself; remove the line")
        return None
    entry = table.table(signal, example=f"{{ {_EXAMPLES.split(', ')[0]} }}")
    readers: dict[str, Callable[[], Source | None]] = {
        "mqtt": lambda: _read_topic(entry, signal),
        "home_assistant": lambda: _read_entity(entry, signal),
        "file": lambda: _read_file(entry, signal, folder),
        "command": lambda: _read_command(entry, signal, folder, stale_seconds),
        "host": lambda: _read_host(entry, signal),
    }
    named = [kind for kind in readers if kind in entry]
    if len(named) != 1:
        if entry or table.raw(signal) == {}:
            host = " or host = true" if signal in HOST_SIGNALS else ""
            table.complain(signal, f"{signal}: exactly one source is expected: {_EXAMPLES}{host}")
        return None
    source = readers[named[0]]()
    entry.finish()
    return source


def _read_topic(entry: TomlTable, signal: Signal) -> MqttTopic:
    topic = entry.text("mqtt", "a topic without + and #", pattern=_TOPIC)
    return MqttTopic(topic=topic, meaning=_read_meaning(entry, signal))


def _read_entity(entry: TomlTable, signal: Signal) -> Entity:
    return Entity(
        entity_id=entry.text("home_assistant", "an entity such as binary_sensor.some_name", pattern=_ENTITY),
        attribute=entry.text("attribute", "an attribute's name"),
        meaning=_read_meaning(entry, signal),
    )


def _read_file(entry: TomlTable, signal: Signal, folder: Path) -> FileText:
    name = entry.text("file", "the path of a file")
    return FileText(path=str(_path(name, folder)), meaning=_read_meaning(entry, signal))


def _read_command(entry: TomlTable, signal: Signal, folder: Path, stale_seconds: float) -> Command:
    defaults = Command(arguments=())
    arguments = entry.texts("command", 'a list such as ["program", "argument"]', empty_ones=True)
    if arguments and not arguments[0]:
        entry.expected("command", 'a list such as ["program", "argument"]')
    every, timeout = (
        entry.number(key, "a number of seconds from 0.1 to 86400", low=0.1, high=86400)
        for key in ("every_seconds", "timeout_seconds")
    )
    every_seconds = defaults.every_seconds if every is None else every
    timeout_seconds = defaults.timeout_seconds if timeout is None else timeout
    if every_seconds + timeout_seconds >= stale_seconds:
        entry.complain(
            "every_seconds",
            f"{signal}: every_seconds and timeout_seconds together must be less than stale_seconds = "
            f"{stale_seconds:g}, or the signal would be stale again and again",
        )
    if arguments and "/" in arguments[0]:  # otherwise $PATH is searched
        arguments = (str(_path(arguments[0], folder)), *arguments[1:])
    return Command(
        arguments=arguments,
        every_seconds=every_seconds,
        timeout_seconds=timeout_seconds,
        meaning=_read_meaning(entry, signal),
    )


def _read_host(entry: TomlTable, signal: Signal) -> Host | None:
    defaults = Host()
    if not entry.flag("host"):
        entry.expected("host", "true")
    if signal not in HOST_SIGNALS:
        entry.complain("host", f"{signal}: this machine can't tell that; name another source: {_EXAMPLES}")
    if signal is not Signal.IN_USE:
        return defaults
    what = "a number of seconds from 1 to 86400"
    idle_seconds = entry.number("idle_seconds", what, low=1.0, high=86400.0)
    return defaults if idle_seconds is None else Host(idle_seconds=idle_seconds)


def _read_meaning(entry: TomlTable, signal: Signal) -> Meaning:
    """How the text of the source is understood. Only settings that fit the signal's type are known."""
    true_when: tuple[str, ...] = ()
    false_when: tuple[str, ...] = ()
    scale = offset = None
    if KINDS[signal] is bool:
        true_when = entry.texts("true_when", 'a list of texts such as ["on"]', empty_ones=True)
        false_when = entry.texts("false_when", 'a list of texts such as ["off"]', empty_ones=True)
        for text in set(true_when) & set(false_when):
            entry.complain("false_when", f'false_when: "{text}" is in true_when too')
    elif KINDS[signal] is float:
        scale = entry.number("scale", "a number other than 0")
        if scale == 0:
            entry.expected("scale", "a number other than 0")
        offset = entry.number("offset", "a number")
    what = "a number of seconds larger than 0"
    return Meaning(
        true_when=true_when,
        false_when=false_when,
        scale=1.0 if scale is None else scale,
        offset=offset or 0.0,
        json_path=entry.texts("json_path", 'a list of keys such as ["battery", "level"]'),
        called=entry.text("called", "a text"),
        max_age_seconds=entry.number("max_age_seconds", what, low=math.ulp(0.0)),
    )


def _path(name: str, folder: Path) -> Path:
    """The path `name`, relative to `folder`; ~ is the home folder."""
    try:
        return folder / Path(name).expanduser()
    except RuntimeError:  # no such user
        return folder / name
