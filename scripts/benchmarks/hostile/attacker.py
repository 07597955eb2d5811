"""The attacker of bench_hostile, as a process: `python -m scripts.benchmarks.hostile.attacker PARAMETERS`.

It says when all is prepared, and has begun. After a line on its standard input it tells what it did and
heard, and what it cost, and ends without leaving politely: its connections are cut.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
import traceback
from typing import Any

import psutil

from p2pinfer.tasks import ending
from scripts.benchmarks.hostile.attacks.scene import Scene
from scripts.benchmarks.hostile.plan import function_of
from scripts.benchmarks.shared.speech import Speech, listen

_MANY_FILES = 16_384


def cpu_seconds() -> float:
    """Processor time of this process and of its children, p2pd among them."""
    me = psutil.Process()
    times = [each.cpu_times() for each in (me, *me.children(recursive=True))]
    ended = me.cpu_times()
    return float(sum(each.user + each.system for each in times) + ended.children_user + ended.children_system)


async def attack(parameters: dict[str, Any], speech: Speech) -> None:
    """Attack until told that it is enough."""
    scene = Scene.of(parameters)
    enough = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hear(words: dict[str, Any]) -> None:
        loop.call_soon_threadsafe(enough.set)

    listen(hear)
    working = asyncio.create_task(function_of(parameters["attack"])(scene))
    async with (
        ending(asyncio.create_task(scene.begun.wait())) as begun,
        ending(asyncio.create_task(enough.wait())) as told,
    ):
        await _first_of(working, begun)
        speech.say(what="begun", at=time.monotonic())
        await _first_of(working, told)
    report = scene.tally.as_json()
    if working.done() and not working.cancelled() and (error := working.exception()) is not None:
        report["error"] = "".join(traceback.format_exception(error))[-2000:]
    speech.say(what="done", cpu_seconds=cpu_seconds(), **report)


async def _first_of(*tasks: asyncio.Future[Any]) -> None:
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)


def main() -> None:
    """Attack, and end at once."""
    parameters = json.loads(sys.argv[1])
    speech = Speech()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, _MANY_FILES), most))

    async def run() -> None:
        await attack(parameters, speech)
        for child in psutil.Process().children(recursive=True):
            child.kill()
        os._exit(0)

    asyncio.run(run())


if __name__ == "__main__":
    main()
