"""The broker that most households have, where it is installed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import aiomqtt
import pytest

from p2pinfer.owner.signals.readings import Signal
from tests.owner.signals.brokers import PARKED_AT_HOME, publish
from tests.owner.signals.sources.test_mqtt import CAR, GEAR, TOPICS, listener
from tests.owner.signals.watching import PATIENCE_SECONDS, Watch, free_port, running

_BINARY = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
pytestmark = pytest.mark.skipif(_BINARY is None, reason="there is no mosquitto")

_ACL = f"""topic readwrite #
user car
topic read {CAR}/plugged_in
"""


@contextlib.asynccontextmanager
async def mosquitto(folder: Path, port: int, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A broker, killed at the end if the test hasn't."""
    config = folder / "mosquitto.conf"
    as_root = ["user root"] if os.geteuid() == 0 else []  # or it couldn't read this test's folder
    config.write_text(
        "\n".join([f"listener {port} 127.0.0.1", "allow_anonymous true", *as_root, *options, ""])
    )
    assert _BINARY is not None
    process = await asyncio.create_subprocess_exec(
        _BINARY, "-c", str(config), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await _listens(port)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_it_is_killed_and_starts_again(tmp_path):
    port = free_port()
    watch = Watch()
    async with running(listener(port, watch).run()):
        async with mosquitto(tmp_path, port):
            await publish(port, PARKED_AT_HOME)
            await watch.until(lambda: len(watch.known.readings()) == len(TOPICS))
            await publish(port, {GEAR: "D"})
            await watch.until_known(Signal.PARKED, False)
        await watch.until(lambda: f"mqtt broker 127.0.0.1:{port}" in watch.known.troubles())
        async with mosquitto(tmp_path, port):
            await publish(port, {GEAR: "P"})
            await watch.until_known(Signal.PARKED, True)


async def test_what_its_access_list_hides_is_named(tmp_path):
    """It says nothing of it: the subscription is granted, and nothing comes."""
    port = free_port()
    (tmp_path / "acl").write_text(_ACL)
    (tmp_path / "acl").chmod(0o644)
    tmp_path.chmod(0o755)
    watch = Watch()
    async with mosquitto(tmp_path, port, f"acl_file {tmp_path / 'acl'}"):
        async with aiomqtt.Client("127.0.0.1", port) as client:
            for topic, payload in PARKED_AT_HOME.items():
                await client.publish(topic, payload, qos=1, retain=True)
        async with running(listener(port, watch, password="any").run()):
            await watch.until_known(Signal.PLUGGED_IN, True)
            await watch.until_trouble(f"mqtt {GEAR}", "nothing is published there, or we may not read it")
            assert watch.known.readings().keys() == {Signal.PLUGGED_IN}


async def _listens(port: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return
