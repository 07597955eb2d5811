"""Real MQTT brokers: amqtt, in this process or in one that can be killed."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiomqtt
from amqtt.broker import Broker
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin

USER, PASSWORD = "car", "right"

PARKED_AT_HOME = {
    "teslamate/cars/1/plugged_in": "true",
    "teslamate/cars/1/battery_level": "81",
    "teslamate/cars/1/shift_state": "P",
    "teslamate/cars/1/geofence": "Home",
    "teslamate/cars/1/is_user_present": "false",
}
"""As TeslaMate publishes it, retained."""


class OneUser(BaseAuthPlugin):
    """Accepts the clients that have the password."""

    async def authenticate(self, *, session: Any) -> bool:
        return bool(session.username == USER and session.password == PASSWORD)


class NoGear(BaseTopicPlugin):
    """Refuses subscriptions to the gear."""

    async def topic_filtering(self, *, session: Any = None, topic: Any = None, action: Any = None) -> bool:
        return "shift_state" not in str(topic) or str(action) != "subscribe"


class TidyBroker(Broker):
    """Closes each connection. amqtt itself leaves those open whose client never said who it is.

    Python 3.12.1 waits for them for ever when the broker ends.
    """

    async def stream_connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener_name: str
    ) -> None:
        try:
            await super().stream_connected(reader, writer, listener_name)
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def amqtt_broker(
    port: int,
    retained: Mapping[str, str] | None = None,
    *,
    plugin: type | None = None,
    certificate: Path | None = None,
) -> AsyncIterator[Broker]:
    """A broker with these retained messages. With a certificate (and key, in the same file) it speaks TLS."""
    plugins: dict[str, Any] = {f"{plugin.__module__}.{plugin.__name__}": {}} if plugin else {}
    if plugin is not OneUser:
        plugins["amqtt.plugins.authentication.AnonymousAuthPlugin"] = {"allow_anonymous": True}
    tls = {"ssl": True, "certfile": certificate, "keyfile": certificate} if certificate else {}
    listeners = {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}", **tls}}
    broker = TidyBroker({"listeners": listeners, "plugins": plugins})
    await broker.start()
    try:
        await publish(port, retained or {}, retain=True)
        yield broker
    finally:
        await broker.shutdown()


@contextlib.asynccontextmanager
async def broker_process(port: int) -> AsyncIterator[None]:
    """A broker without memory in a process of its own, killed at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, str(port), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        yield
    finally:
        process.kill()
        await process.wait()


async def publish(port: int, messages: Mapping[str, str | bytes], *, retain: bool = True) -> None:
    """Publish these, as anybody in the household may."""
    if not messages:
        return
    async with aiomqtt.Client("127.0.0.1", port, username=USER, password=PASSWORD) as client:
        for topic, payload in messages.items():
            await client.publish(topic, payload, qos=1, retain=retain)


async def _serve(port: int) -> None:
    async with amqtt_broker(port):
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
