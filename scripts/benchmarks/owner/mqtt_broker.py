"""A real MQTT broker in a process of its own: mosquitto where it is installed, else amqtt."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiomqtt

from p2pinfer.errors import UsageError
from scripts.benchmarks.shared.free_port import free_port

_START_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker that runs on this machine."""

    name: str
    port: int

    def publish(self, messages: Mapping[str, str]) -> None:
        """Publish a retained message, as TeslaMate does; return when the broker has it."""
        asyncio.run(self._publish(messages))

    async def _publish(self, messages: Mapping[str, str]) -> None:
        async with aiomqtt.Client("127.0.0.1", self.port) as client:
            for topic, text in messages.items():
                await client.publish(topic, text, qos=1, retain=True)


@contextlib.contextmanager
def running_broker(folder: Path) -> Iterator[Broker]:
    """Run a broker until the block ends. Its files are in `folder`. Raises UsageError."""
    port = free_port()
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin"))
    mosquitto = shutil.which("mosquitto", path=path)
    if mosquitto is not None:
        name, settings = "mosquitto", folder / "mosquitto.conf"
        settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
        command = [mosquitto, "-c", str(settings)]
    else:
        name, settings = "amqtt", folder / "amqtt.json"  # JSON, which is YAML too
        plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        listener = {"type": "tcp", "bind": f"127.0.0.1:{port}"}
        settings.write_text(json.dumps({"listeners": {"default": listener}, "plugins": plugins}))
        command = [sys.executable, "-m", "amqtt.scripts.broker_script", "-c", str(settings)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_listening(port, process)
        yield Broker(name, port)
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_listening(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        time.sleep(0.05)
    raise UsageError(
        "the MQTT broker doesn't start: is mosquitto, or amqtt, installed as scripts/setup does it?"
    )
