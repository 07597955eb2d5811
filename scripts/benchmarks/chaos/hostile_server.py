"""A server that boasts or stalls: the real one, with its record and its computing changed.

`python -m scripts.benchmarks.chaos.hostile_server [ARGUMENTS OF THE SERVER] --malice KIND`
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace

from p2pinfer.identity import Identity
from p2pinfer.server.__main__ import main as serve
from p2pinfer.server.compute.batcher import Batcher
from p2pinfer.swarm import swarm
from p2pinfer.swarm.records.announcement import Announcement, encode
from p2pinfer.types import LayerSeconds
from scripts.benchmarks.chaos.malice import Malice

_BOASTED = LayerSeconds(1e-9)
_BOASTED_ROOM = 2**40
_NAP_SECONDS = 0.02
_compute = Batcher.run


def boasting(announcement: Announcement, identity: Identity) -> bytes:
    """Sign a record of a server that nobody can match."""
    return encode(
        replace(announcement, decode=_BOASTED, prefill=_BOASTED, free_cache_tokens=_BOASTED_ROOM), identity
    )


def slowly(seconds: float) -> object:
    """Return what computes a batch after so many seconds, and says truly how long it took."""

    def run(batcher: Batcher) -> None:
        if batcher.depth:
            time.sleep(seconds)
            for work in batcher._backlog:
                work.compute_seconds += seconds
        _compute(batcher)

    return run


def never(batcher: Batcher) -> None:
    """Compute no batch. The thread goes on reading lanes."""
    time.sleep(_NAP_SECONDS)


def main() -> int:
    """Change the server, and run it."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--malice", type=Malice, required=True)
    own, arguments = parser.parse_known_args()
    swarm.encode = boasting  # type: ignore[attr-defined]
    stalls = own.malice is Malice.STALLS
    Batcher.run = never if stalls else slowly(own.malice.step_seconds)  # type: ignore[assignment, method-assign]
    return serve(arguments)


if __name__ == "__main__":
    sys.exit(main())
