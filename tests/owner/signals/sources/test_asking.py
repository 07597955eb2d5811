"""Asking all sources once."""

from __future__ import annotations

import asyncio
import time

from p2pinfer.owner.signals.config import Command, FileText, MqttBroker, MqttTopic, SignalsConfig
from p2pinfer.owner.signals.readings import Signal
from p2pinfer.owner.signals.sources.asking import Heard, ask_once
from tests.owner.signals.brokers import OneUser, amqtt_broker
from tests.owner.signals.watching import free_port


async def test_it_ends_as_soon_as_every_source_has_said_something(tmp_path):
    (tmp_path / "place").write_text("Home")
    port = free_port()
    sources = {
        Signal.PLACE: FileText(path=str(tmp_path / "place")),
        Signal.PARKED: MqttTopic(topic="gear"),
        Signal.IN_USE: MqttTopic(topic="user"),
    }
    async with amqtt_broker(port, {"gear": "true"}, plugin=OneUser):
        config = SignalsConfig(sources=sources, mqtt=MqttBroker(host="127.0.0.1", port=port))
        began_at = time.monotonic()
        heard = await ask_once(config, patience_seconds=60.0)
    assert time.monotonic() - began_at < 30.0
    assert heard.readings.keys() == {Signal.PLACE}
    assert {trouble.words for trouble in heard.troubles.values()} == {"it refuses this user name or password"}
    assert heard.troubles[Signal.PARKED] == heard.troubles[Signal.IN_USE]


async def test_topics_without_a_message_are_told_apart_from_those_with_one():
    port = free_port()
    sources = {Signal.PARKED: MqttTopic(topic="gear"), Signal.IN_USE: MqttTopic(topic="misspelt")}
    async with amqtt_broker(port, {"gear": "true"}):
        config = SignalsConfig(sources=sources, mqtt=MqttBroker(host="127.0.0.1", port=port))
        heard = await ask_once(config)
    assert heard.readings[Signal.PARKED].value is True
    assert heard.troubles[Signal.IN_USE].origin == "mqtt misspelt"


async def test_a_source_that_says_nothing_in_time_is_in_neither_list():
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    config = SignalsConfig(
        sources={
            Signal.PARKED: MqttTopic(topic="gear"),
            Signal.WATTS: Command(arguments=("/bin/sleep", "60")),
        },
        mqtt=MqttBroker(host="127.0.0.1", port=server.sockets[0].getsockname()[1]),
    )
    assert await ask_once(config, patience_seconds=0.2) == Heard(readings={}, troubles={})
    server.close()


async def test_nothing_to_ask_is_answered_at_once():
    assert await ask_once(SignalsConfig()) == Heard(readings={}, troubles={})
