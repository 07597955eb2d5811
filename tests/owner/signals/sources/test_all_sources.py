"""All sources at once."""

from __future__ import annotations

import asyncio
import sys
import time

import pytest

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
from p2pinfer.owner.signals.sources.all_sources import Signals, listen_to_sources
from tests.owner.signals.brokers import PARKED_AT_HOME, amqtt_broker, publish
from tests.owner.signals.home import TOKEN, Home
from tests.owner.signals.watching import PATIENCE_SECONDS, eventually, free_port


class Waiter:
    """`on_change`, and waiting for it."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def __call__(self) -> None:
        self._changed.set()

    async def until(self, condition) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


def values(signals: Signals) -> dict[Signal, object]:
    return {signal: reading.value for signal, reading in signals.readings().items()}


async def test_every_kind_of_source_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("p2pinfer.owner.signals.sources.in_use._UTMP", tmp_path)  # containers have none
    (tmp_path / "celsius").write_text("21")
    port, waiter = free_port(), Waiter()
    async with amqtt_broker(port, PARKED_AT_HOME), Home.at_home({"sensor.price": ("0.3", {})}) as home:
        config = SignalsConfig(
            sources={
                Signal.PARKED: MqttTopic(
                    topic="teslamate/cars/1/shift_state", meaning=Meaning(true_when=("P",), called="gear")
                ),
                Signal.PRICE: Entity(entity_id="sensor.price"),
                Signal.BATTERY_CELSIUS: FileText(path=str(tmp_path / "celsius")),
                Signal.WATTS: Command(arguments=("/bin/echo", "40")),
                Signal.PLUGGED_IN: Host(),
                Signal.BATTERY_PERCENT: Host(),
                Signal.PROGRAM: Host(),
                Signal.IN_USE: Host(),
            },
            mqtt=MqttBroker(host="127.0.0.1", port=port),
            home_assistant=HomeAssistant(url=home.url, token=TOKEN),
        )
        async with listen_to_sources(config, on_change=waiter) as signals:
            await waiter.until(lambda: len(values(signals)) == len(config.sources))
            assert signals.troubles() == {}
            assert values(signals)[Signal.PRICE] == 0.3
            assert values(signals)[Signal.WATTS] == 40.0
            assert values(signals)[Signal.BATTERY_CELSIUS] == 21.0
            assert values(signals)[Signal.PROGRAM] == ""
            await publish(port, {"teslamate/cars/1/shift_state": "D"})
            await waiter.until(lambda: values(signals)[Signal.PARKED] is False)
            assert signals.readings()[Signal.PARKED].words == "gear is D"


async def test_broken_sources_are_named_and_disturb_nobody(tmp_path, caplog):
    (tmp_path / "place").write_text("Home")
    port, waiter = free_port(), Waiter()
    config = SignalsConfig(
        sources={
            Signal.PARKED: MqttTopic(topic="gear"),
            Signal.PRICE: Entity(entity_id="sensor.price"),
            Signal.BATTERY_CELSIUS: FileText(path=str(tmp_path / "none")),
            Signal.WATTS: Command(arguments=("/no/such/program",)),
            Signal.PLACE: FileText(path=str(tmp_path / "place")),
            Signal.BATTERY_PERCENT: Host(),
            Signal.TRAFFIC_BYTES: Host(),
        },
        mqtt=MqttBroker(host="127.0.0.1", port=port),
        home_assistant=HomeAssistant(url=f"http://127.0.0.1:{port}", token=TOKEN),
    )
    async with listen_to_sources(config, on_change=waiter) as signals:
        await waiter.until(lambda: len(signals.troubles()) == 5 and len(values(signals)) == 2)
        assert signals.troubles() == {
            f"mqtt broker 127.0.0.1:{port}": "connection refused",
            f"home assistant http://127.0.0.1:{port}": "connection refused",
            f"file {tmp_path / 'none'}": "there is no such file",
            "command /no/such/program": "it can't be run (No such file or directory)",
            "host traffic_bytes": "this machine can't tell",
        }
    assert all("\n" not in record.getMessage() and not record.exc_info for record in caplog.records)


async def test_sources_without_their_server_are_named():
    waiter = Waiter()
    config = SignalsConfig(
        sources={Signal.PARKED: MqttTopic(topic="gear"), Signal.PRICE: Entity(entity_id="sensor.price")}
    )
    async with listen_to_sources(config, on_change=waiter) as signals:
        await waiter.until(lambda: len(signals.troubles()) == 2)
        assert signals.troubles() == {
            "mqtt": "no MQTT broker is configured",
            "home assistant": "no Home Assistant is configured",
        }


async def test_where_there_is_no_dbus_library_the_machine_tells_the_rest(monkeypatch):
    """It is installed on Linux only."""
    monkeypatch.setattr("p2pinfer.owner.signals.sources.all_sources.sys.platform", "darwin")
    for module in [name for name in sys.modules if name.startswith("dbus_fast")]:
        monkeypatch.setitem(sys.modules, module, None)
    waiter = Waiter()
    config = SignalsConfig(
        sources={signal: Host() for signal in (Signal.WIFI, Signal.IN_USE, Signal.PLUGGED_IN)}
    )
    async with listen_to_sources(config, on_change=waiter) as signals:
        await waiter.until(lambda: len(values(signals)) == 2 and len(signals.troubles()) == 1)
        assert "only NetworkManager on Linux can tell" in signals.troubles()["host wifi"]


async def test_nothing_to_listen_to_is_fine():
    async with listen_to_sources(SignalsConfig(), on_change=lambda: None) as signals:
        assert signals.readings() == {}
        assert signals.troubles() == {}


async def test_leaving_is_prompt_leaves_nothing_and_keeps_the_blocks_own_error(caplog):
    """While it connects to servers that accept and stay silent."""
    talks: set[asyncio.Task[None] | None] = set()
    both_wait = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.current_task())
        if await reader.read(1):
            seen.add(writer)
        if len(seen) == 2:
            both_wait.set()
        await reader.read()
        writer.close()

    seen: set[asyncio.StreamWriter] = set()
    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    config = SignalsConfig(
        sources={
            Signal.PARKED: MqttTopic(topic="gear"),
            Signal.PRICE: Entity(entity_id="sensor.price"),
            Signal.WATTS: Command(arguments=("/bin/sleep", "60")),
        },
        mqtt=MqttBroker(host="127.0.0.1", port=port),
        home_assistant=HomeAssistant(url=f"http://127.0.0.1:{port}", token=TOKEN),
    )
    before = asyncio.all_tasks()
    left_at: list[float] = []

    async def leave() -> None:
        async with listen_to_sources(config, on_change=lambda: None):
            await asyncio.wait_for(both_wait.wait(), PATIENCE_SECONDS)
            left_at.append(time.monotonic())
            raise LookupError("the block's own")

    with pytest.raises(LookupError, match="the block's own"):
        await leave()
    assert time.monotonic() - left_at[0] < 8.0
    await eventually(lambda: asyncio.all_tasks() <= before | talks)
    await eventually(lambda: all(talk is None or talk.done() for talk in talks))  # no socket was left open
    server.close()
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_fault_of_ours_in_one_source_is_logged_and_ends_only_that_one(tmp_path, monkeypatch, caplog):
    (tmp_path / "place").write_text("Home")

    async def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("p2pinfer.owner.signals.sources.all_sources._mqtt", fail)
    waiter = Waiter()
    sources = {Signal.PARKED: MqttTopic(topic="gear"), Signal.PLACE: FileText(path=str(tmp_path / "place"))}
    async with listen_to_sources(SignalsConfig(sources=sources), on_change=waiter) as signals:
        await waiter.until(lambda: values(signals) == {Signal.PLACE: "Home"})
    assert "ended by a fault in p2pinfer: ZeroDivisionError('ours')" in caplog.text
