"""How a program that runs on is stopped: by SIGINT (Ctrl-C), SIGTERM or SIGHUP, at any moment.

This file imports nothing that takes time: it is needed before the imports that do.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn


@contextmanager
def leaving_on_signals(*, status: int | None) -> Iterator[None]:
    """In the block, a signal ends the process at once: for imports, while there is nothing to leave.

    An exception out of the middle of a library could become another one. `status` is that of the process;
    None: 128 and the signal's number.
    """

    def leave(number: int, frame: object) -> None:
        leave_at_once(128 + number if status is None else status)

    former = {number: signal.signal(number, leave) for number in _wanted_signals()}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


async def until_signal(work: Coroutine[Any, Any, None]) -> int | None:
    """Do `work`. A signal cancels it, a second signal ends the process at once.

    Returns the number of the signal, or None if there was none. Raises what `work` raises.
    """
    import asyncio

    task = asyncio.create_task(work)
    caught: list[int] = []

    def stop(number: int) -> None:
        if caught:
            leave_at_once(128 + number)
        caught.append(number)
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in _wanted_signals():
        loop.add_signal_handler(number, stop, number)
    try:
        await task
    except asyncio.CancelledError:
        if not caught:
            raise
    return caught[0] if caught else None


def end_silently_on_signals() -> None:
    """From now on a signal ends the process silently: the work is done, and Python itself is ending."""
    for number in _wanted_signals():
        signal.signal(number, signal.SIG_DFL)


def leave_at_once(status: int) -> NoReturn:
    """End the process without waiting for its threads, which may be in the middle of a download."""
    with suppress(ImportError, NameError):  # the signal came in the middle of this very import
        from p2pinfer.command_line.output import end_quietly

        end_quietly()
    os._exit(status)


def _wanted_signals() -> list[signal.Signals]:
    """SIGHUP is not wanted where nohup ignores it."""
    hears_hangups = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hears_hangups else [])]
