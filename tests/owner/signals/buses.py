"""A real D-Bus daemon, with services that look like NetworkManager and logind."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus

needs_dbus_daemon = pytest.mark.skipif(shutil.which("dbus-daemon") is None, reason="there is no dbus-daemon")

_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/>
<allow send_destination="*"/><allow eavesdrop="false"/></policy></busconfig>"""


class Daemon:
    """A bus of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.address = f"unix:path={folder / 'bus'}"
        self._process: asyncio.subprocess.Process | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Daemon]:
        await self.start()
        try:
            yield self
        finally:
            await self.kill()

    async def start(self) -> None:
        (self._folder / "bus").unlink(missing_ok=True)
        config = self._folder / "bus.conf"
        config.write_text(_CONFIG.format(socket=self._folder / "bus"))
        self._process = await asyncio.create_subprocess_exec(
            "dbus-daemon",
            f"--config-file={config}",
            "--nofork",
            "--print-address",
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert await self._process.stdout.readline()

    async def kill(self) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


class Service:
    """Objects with properties, under one name."""

    def __init__(self, name: str, objects: dict[tuple[str, str], dict[str, Variant]]) -> None:
        self.name = name
        self.objects = objects  # by path and interface
        self.answers: dict[str, tuple[str, list[Any]]] = {}  # of methods, by name: type and content
        self.silent = False
        self.asked = 0
        self._bus: MessageBus | None = None

    @contextlib.asynccontextmanager
    async def on(self, address: str) -> AsyncIterator[Service]:
        bus = await MessageBus(bus_address=address).connect()
        bus.add_message_handler(self._answer)
        await bus.request_name(self.name)
        self._bus = bus
        try:
            yield self
        finally:
            bus.disconnect()

    async def change(self, path: str, interface: str, **properties: Variant) -> None:
        """New values, announced."""
        self.objects[path, interface].update(properties)
        message = Message.new_signal(
            path,
            "org.freedesktop.DBus.Properties",
            "PropertiesChanged",
            "sa{sv}as",
            [interface, properties, []],
        )
        assert self._bus is not None
        await self._bus.send(message)

    def _answer(self, message: Message) -> Message | None:
        if message.message_type is not MessageType.METHOD_CALL or message.destination != self.name:
            return None
        self.asked += 1
        if self.silent:
            return Message(message_type=MessageType.SIGNAL, path="/", interface="a.b", member="Nothing")
        if message.member in self.answers:
            return Message.new_method_return(message, *self.answers[message.member])
        found = self.objects.get((message.path, message.body[0] if message.body else ""))
        if message.member != "GetAll" or found is None:
            return Message.new_error(message, "org.freedesktop.DBus.Error.UnknownObject", "no such object")
        return Message.new_method_return(message, "a{sv}", [found])
