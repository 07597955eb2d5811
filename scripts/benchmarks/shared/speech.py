"""The other side of host_process.py: how a program sends lines, and learns that it should end."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from queue import Queue
from typing import Any, NoReturn

LAST_SECONDS = 6.0


class Speech:
    """Lines of JSON on the original standard output; output of libraries goes to standard error."""

    def __init__(self) -> None:
        self._lines = os.fdopen(os.dup(1), "w", buffering=1)
        self._lock = threading.Lock()
        os.dup2(2, 1)
        logging.basicConfig(
            level=logging.WARNING, format="%(asctime)s.%(msecs)03d %(message)s", datefmt="%H:%M:%S"
        )
        logging.getLogger("p2pinfer").setLevel(logging.INFO)

    def say(self, **words: Any) -> None:
        """Send one line. If the reader is gone, this program is about to end, and the line is dropped."""
        with self._lock:
            try:
                print(json.dumps(words), file=self._lines)
            except BrokenPipeError:
                self._lines = open(os.devnull, "w")  # noqa: SIM115


def answer_requests(
    speech: Speech, requests: Queue[dict[str, Any]], works: Mapping[str, Callable[..., dict[str, Any]]]
) -> NoReturn:
    """Say that the program is ready; then do the `work` that each request names, and tell the result."""
    speech.say(ready=True)
    while True:
        request = requests.get()
        speech.say(**works[request.pop("work")](**request))


def listen(hear: Callable[[dict[str, Any]], None]) -> None:
    """Call `hear`, in a thread of its own, with every line; end this program after the last line."""
    threading.Thread(target=_listen, args=(hear,), daemon=True).start()


def _listen(hear: Callable[[dict[str, Any]], None]) -> None:
    for line in sys.stdin:
        hear(json.loads(line))
    os.kill(os.getpid(), signal.SIGINT)  # the main thread leaves the swarm
    time.sleep(LAST_SECONDS)
    os._exit(1)
