"""All sources of the owner's signals, listened to at the same time.

Every source is optional and independent: a broken, slow or absent source disturbs no other source, is tried
again for ever, and shows in `troubles`. A library is imported only if the policy names a source that needs
it: a paused machine should use little memory.
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

from p2pinfer.owner.signals.config import Command, Entity, FileText, Host, MqttTopic, SignalsConfig
from p2pinfer.owner.signals.known import Known
from p2pinfer.owner.signals.meaning import Told
from p2pinfer.owner.signals.persistence import keep_looking
from p2pinfer.owner.signals.readings import Readings, Signal
from p2pinfer.owner.signals.sources.texts import look_at_file, look_by_command
from p2pinfer.owner.signals.trouble import NAME_ANOTHER, NO_INSTRUMENT, SourceError, Trouble
from p2pinfer.tasks import cancel_and_wait
from p2pinfer.threads import BackgroundThread

logger = logging.getLogger(__name__)

_SLOW_SECONDS = 10.0  # between looks that cost milliseconds
_IN_USE_SECONDS = 5.0  # between looks that ask several programs
_CLOSING_SECONDS = 0.9
_NETWORK = frozenset({Signal.UNMETERED, Signal.WIFI})


class Signals:
    """What the sources tell: the readings that are known now, and the troubles of the sources."""

    def __init__(self, known: Known) -> None:
        self._known = known

    def readings(self) -> Readings:
        """The readings that are known now, by signal. Costs next to nothing."""
        return self._known.readings()

    def troubles(self) -> Mapping[str, str]:
        """What is wrong, in plain words, by the origin that has the trouble. Empty when all is well."""
        return self._known.troubles()

    def reasons(self) -> Mapping[Signal, Trouble]:
        """Why signals aren't known, or soon won't be."""
        return self._known.reasons()


@contextlib.asynccontextmanager
async def listen_to_sources(
    config: SignalsConfig,
    *,
    now: Callable[[], float] = time.time,
    on_change: Callable[[], None],
    silently: bool = False,
) -> AsyncIterator[Signals]:
    """Listen to all sources until the block ends.

    `on_change` is called in the event loop when a value changes, and when a source is lost or comes back.
    `silently`: troubles are not logged.
    The end of the block waits for the sources for at most `_CLOSING_SECONDS`.
    """
    known = Known(now=now, on_change=on_change, silently=silently)
    tasks = [asyncio.create_task(source) for source in _sources(config, known, now)]
    for task in tasks:
        task.add_done_callback(_report_fault)
    try:
        yield Signals(known)
    finally:
        closing = asyncio.ensure_future(cancel_and_wait(*tasks))
        await asyncio.wait({closing}, timeout=_CLOSING_SECONDS)
        known.close()


def _report_fault(task: asyncio.Task[None]) -> None:
    """Log a source that has failed by a fault in p2pinfer. Its signals grow stale, which stops the work."""
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
            yield _look_in_thread(known, signal, f"file {source.path}", look, config.poll_seconds)
        elif isinstance(source, Command):
            yield keep_looking(
                known,
                signal,
                origin=f"command {source.shown}",
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
            yield _look_in_thread(known, signal, origin, look, every_seconds)
        elif signal is Signal.IN_USE:
            yield _in_use(known, source, origin, max(_IN_USE_SECONDS, config.poll_seconds), now)
        elif signal not in _NETWORK:
            error = SourceError("this machine can't tell", kind=NO_INSTRUMENT, advice=NAME_ANOTHER)
            known.withdraw(signal, origin=origin, error=error)


async def _look_in_thread(
    known: Known, signal: Signal, origin: str, look: Callable[[], Told], every_seconds: float
) -> None:
    """Keep looking, with a thread for the looks, which may block."""
    with contextlib.closing(BackgroundThread("owner-signal")) as thread:
        await keep_looking(
            known, signal, origin=origin, look=lambda: thread.run(look), every_seconds=every_seconds
        )


async def _network(wanted: Collection[Signal], known: Known) -> None:
    if sys.platform == "linux":
        from p2pinfer.owner.signals.sources.network_manager import NetworkListener

        await NetworkListener(wanted, known).run()
    for signal in wanted:
        error = SourceError("only NetworkManager on Linux can tell", kind=NO_INSTRUMENT, advice=NAME_ANOTHER)
        known.withdraw(signal, origin=f"host {signal.value}", error=error)


async def _in_use(
    known: Known, source: Host, origin: str, every_seconds: float, now: Callable[[], float]
) -> None:
    from p2pinfer.owner.signals.sources.in_use import Connect, UsersPresence

    connect: Connect | None = None
    if sys.platform == "linux":
        from p2pinfer.owner.signals.sources.system_bus import SystemBus

        connect = SystemBus.connected
    looker = UsersPresence(idle_seconds=source.idle_seconds, now=now, connect=connect)
    try:
        await keep_looking(known, Signal.IN_USE, origin=origin, look=looker.look, every_seconds=every_seconds)
    finally:
        await looker.close()
