"""Starts writers to a ledger, to be killed: a line `PATH NUMBER` on stdin forks one, which writes forever.

It prints `writer PID`, then a line for every write that has returned, then, when it is gone, `gone`.
Forked rather than started: Python takes a fifth of a second to start.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from p2pinfer.owner.ledger.interval import EnergySource, Interval
from p2pinfer.owner.ledger.ledger import Ledger
from p2pinfer.owner.states import OwnerState
from p2pinfer.types import SessionId, Span
from p2pinfer.wire.receipts import Work
from tests.owner.signing import CLIENT, NOW, SERVER, receipt, signed


def write_forever(path: Path, number: int) -> None:
    """One session after the other, with receipts in batches, and all else in between."""
    choices = random.Random(number)
    say(f"writer {os.getpid()}")
    ledger = Ledger.open(path)
    count = 0
    while True:
        count += 1
        session_id = SessionId(number.to_bytes(8, "big") + count.to_bytes(8, "big"))
        work, sequence = Work(), 0
        for _ in range(choices.randint(1, 8)):
            batch = []
            for _ in range(choices.randint(1, 3)):
                work, sequence = work + Work(choices.randint(0, 50), choices.randint(1, 50)), sequence + 1
                batch.append(signed(receipt(work=work, sequence=sequence, session_id=session_id)))
            assert ledger.add_receipts(batch) == [None] * len(batch)
            say(f"receipts {session_id.hex()} {sequence}")
        at = NOW + number * 1e6 + count
        ledger.add_session(
            server=SERVER.peer_id,
            session_id=session_id,
            client=CLIENT.public_key,
            model="a" * 64,
            layers=Span(10, 20),
            work=work,
            started_at=at,
            ended_at=at,
        )
        say(f"session {session_id.hex()} {work.tokens}")
        ledger.add_interval(
            Interval(
                server=SERVER.peer_id,
                started_at=at,
                ended_at=at + 1,
                state=OwnerState.SERVING,
                joules=1.0,
                energy_source=EnergySource.ESTIMATE,
                cpu_seconds=1.0,
                price=None,
                currency="EUR",
                sent_bytes=1,
                received_bytes=1,
            )
        )
        say(f"interval {at}")
        ledger.add_transition(server=SERVER.peer_id, at=at, state=OwnerState.SERVING, words="")
        say(f"transition {at}")


def say(line: str) -> None:
    """In one piece, past all buffers."""
    os.write(1, f"{line}\n".encode())


def main() -> None:
    """Until stdin ends."""
    while line := sys.stdin.readline():
        path, _, number = line.rpartition(" ")
        pid = os.fork()
        if pid == 0:
            write_forever(Path(path), int(number))
        os.waitpid(pid, 0)
        say("gone")


if __name__ == "__main__":
    main()
