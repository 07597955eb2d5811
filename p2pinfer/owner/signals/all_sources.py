"""All sources of the owner's signals, listened to at once.

Each one is optional and on its own: what is broken, slow or absent disturbs nobody else, is tried again for
ever, and shows in `troubles`. Libraries are imported only for the sources that there are: a machine that
waits for its owner's word should be small.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Mapping
from functools import partial
from typing import Any

from p2pinfer.owner.signals.aside import Aside
from p2pinfer.owner.signals.config import Command, Entity, FileText, Host, MqttTopic, SignalsConfig
from p2pinfer.owner.signals.known import Known
from p2pinfer.owner.signals.meaning import Told
from p2pinfer.owner.signals.persistence import keep_looking
from p2pinfer.owner.signals.readings import Readings, Signal
from p2pinfer.owner.signals.sources.texts import look_at_file, look_by_command
from p2pinfer.owner.signals.trouble import SourceError

logger = logging.getLogger(__name__)

_SLOW_SECONDS = 10.0  # for looks that cost milliseconds
_IN_USE_SECONDS = 5.0  # for one that asks several others
_CLOSING_SECONDS = 0.9
_NETWORK = frozenset({Signal.UNMETERED, Signal.WIFI})


class Signals:
    """What is known now, and what is wrong."""

    def __init__(self, known: Known) -> None:
        self._known = known

    def readings(self) -> Readings:
        """What is known now; a cheap look."""
        return self._known.readings()

    def troubles(self) -> Mapping[str, str]:
        """Origin -> what is wrong with it, in plain words; empty when all is well."""
        return self._known.troubles()


@contextlib.asynccontextmanager
async def listening(
    config: SignalsConfig, *, now: Callable[[], float] = time.time, on_change: Callable[[], None]
) -> AsyncIterator[Signals]:
    """Listen to all sources until the block is left.

    `on_change` is called in the event loop whenever a value has changed, or a source was lost or came back.
    """
    known = Known(now=now, on_change=on_change)
    tasks = {asyncio.create_task(source) for source in _sources(config, known, now)}
    for task in tasks:
        task.add_done_callback(_report_fault)
    try:
        yield Signals(known)
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSING_SECONDS)
        known.close()


def _report_fault(task: asyncio.Task[None]) -> None:
    """A source that ends by itself has met a fault of ours. Its signals age, which stops the work."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("a source of signals has ended by a fault in p2pinfer: %r", error)


def _sources(
    config: SignalsConfig, known: Known, now: Callable[[], float]
) -> Iterator[Coroutine[Any, Any, None]]:
    topics = {signal: source for signal, source in config.sources.items() if isinstance(source, MqttTopic)}
    entities = {signal: source for signal, source in config.sources.items() if isinstance(source, Entity)}
    hosts = {signal: source for signal, source in config.sources.items() if isinstance(source, Host)}
    if topics:
        yield _mqtt(config, topics, known)
    if entities:
        yield _home_assistant(config, entities, known)
    if hosts:
        yield from _host(config, hosts, known, now)
    for signal, source in config.sources.items():
        if isinstance(source, FileText):
            look = partial(look_at_file, signal, source, now=now)
            yield _look_aside(known, signal, f"file {source.path}", look, config.poll_seconds)
        elif isinstance(source, Command):
            yield keep_looking(
                known,
                signal,
                origin=f"command {' '.join(source.arguments)}",
                look=partial(look_by_command, signal, source),
                every_seconds=source.every_seconds,
                patience_seconds=source.timeout_seconds + 1,
                max_age_seconds=source.meaning.max_age_seconds,
            )


async def _mqtt(config: SignalsConfig, topics: Mapping[Signal, MqttTopic], known: Known) -> None:
    if config.mqtt is None:
        _not_configured(known, "mqtt", topics, "no MQTT broker is configured")
        return
    from p2pinfer.owner.signals.sources.mqtt import MqttListener

    await MqttListener(config.mqtt, topics, known).run()


async def _home_assistant(config: SignalsConfig, entities: Mapping[Signal, Entity], known: Known) -> None:
    if config.home_assistant is None:
        _not_configured(known, "home assistant", entities, "no Home Assistant is configured")
        return
    from p2pinfer.owner.signals.sources.home_assistant import HomeAssistantListener

    await HomeAssistantListener(config.home_assistant, entities, known).run()


def _not_configured(known: Known, origin: str, signals: Mapping[Signal, object], words: str) -> None:
    for signal in signals:
        known.withdraw(signal, origin=origin, error=SourceError(words, kind="not configured"))


def _host(
    config: SignalsConfig, hosts: Mapping[Signal, Host], known: Known, now: Callable[[], float]
) -> Iterator[Coroutine[Any, Any, None]]:
    from p2pinfer.owner.signals.sources import host

    slow_seconds = max(_SLOW_SECONDS, config.poll_seconds)
    looks: dict[Signal, tuple[Callable[[], Told], float]] = {
        Signal.PLUGGED_IN: (host.plugged_in, config.poll_seconds),
        Signal.BATTERY_PERCENT: (host.battery_percent, slow_seconds),
        Signal.MACHINE_CELSIUS: (host.machine_celsius, slow_seconds),
        Signal.PROGRAM: (partial(host.program, config.exclusive_programs), slow_seconds),
    }
    if wanted := _NETWORK & hosts.keys():
        yield _network(wanted, known)
    for signal, source in hosts.items():
        origin = f"host {signal.value}"
        if signal in looks:
            look, every_seconds = looks[signal]
            yield _look_aside(known, signal, origin, look, every_seconds)
        elif signal is Signal.IN_USE:
            yield _in_use(known, source, origin, max(_IN_USE_SECONDS, config.poll_seconds), now)
        elif signal not in _NETWORK:
            error = SourceError("a machine can't tell that of itself: name another source", kind="no look")
            known.withdraw(signal, origin=origin, error=error)


async def _look_aside(
    known: Known, signal: Signal, origin: str, look: Callable[[], Told], every_seconds: float
) -> None:
    """Keep looking in a thread."""
    with contextlib.closing(Aside()) as thread:
        await keep_looking(
            known, signal, origin=origin, look=lambda: thread.run(look), every_seconds=every_seconds
        )


async def _network(wanted: Collection[Signal], known: Known) -> None:
    if sys.platform == "linux":
        from p2pinfer.owner.signals.sources.network_manager import NetworkListener

        await NetworkListener(wanted, known).run()
    for signal in wanted:
        error = SourceError("only Linux's NetworkManager tells that: name another source", kind="no look")
        known.withdraw(signal, origin=f"host {signal.value}", error=error)


async def _in_use(
    known: Known, source: Host, origin: str, every_seconds: float, now: Callable[[], float]
) -> None:
    from p2pinfer.owner.signals.sources.in_use import Connect, InUse

    connect: Connect | None = None
    if sys.platform == "linux":
        from p2pinfer.owner.signals.sources.system_bus import SystemBus

        connect = SystemBus.connected
    looker = InUse(idle_seconds=source.idle_seconds, now=now, connect=connect)
    try:
        await keep_looking(known, Signal.IN_USE, origin=origin, look=looker.look, every_seconds=every_seconds)
    finally:
        await looker.close()
