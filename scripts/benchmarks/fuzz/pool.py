"""The processes that try inputs. One that crashes or hangs is replaced, and its input is a finding."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path

from scripts.benchmarks.fuzz.plan import Block, Plan
from scripts.benchmarks.fuzz.worker import Note, work

HANG_SECONDS = 20.0
"""A process that tries one input for so long counts as hung."""
_START_SECONDS = 60.0
"""More for one that has just begun: it imports, and makes samples."""
_LOOK_SECONDS = 0.5


class _Worker:
    def __init__(self, folder: Path, place: int, seed: int) -> None:
        context = multiprocessing.get_context("spawn")
        path = folder / f"turn-{place}"
        path.unlink(missing_ok=True)
        self.note = Note(path)
        self.blocks: Connection
        self.blocks, theirs = context.Pipe()
        self._process = context.Process(target=work, args=(theirs, path, seed), daemon=True)
        self._process.start()
        theirs.close()
        self.block: Block | None = None
        self._number = -1
        self._since = 0.0
        self._patience = _START_SECONDS

    def give(self, block: Block) -> None:
        """Let it try a block."""
        if self.block is None or self.block.reader != block.reader:
            self._patience = _START_SECONDS
        self.block, self._number, self._since = block, -1, time.monotonic()
        self.blocks.send((block.reader, block.first, block.count))

    def is_hung(self) -> bool:
        """True if it has been at the same input for too long."""
        number = self.note.read().number
        if number != self._number:
            if self._number >= 0:
                self._patience = HANG_SECONDS
            self._number, self._since = number, time.monotonic()
        return time.monotonic() - self._since > self._patience

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self.blocks.close()


def run(
    plan: Plan, *, processes: int, seed: int, folder: Path, seconds: float, say: Callable[[str], None]
) -> None:
    """Carry out a plan, for `seconds` at most. `folder` is for the processes' notes."""
    workers = [_Worker(folder, place, seed) for place in range(processes)]
    ends_at, says_at = time.monotonic() + seconds, time.monotonic() + 10.0
    rests: list[Block] = []
    try:
        for worker in workers:
            _give_next(worker, plan, rests, ends_at)
        while any(worker.block for worker in workers):
            busy = [worker.blocks for worker in workers if worker.block]
            ready = wait(busy, _LOOK_SECONDS)
            for place, worker in enumerate(workers):
                block = worker.block
                if block is None:
                    continue
                is_lost = False
                if worker.blocks in ready:
                    try:
                        plan.done(block, worker.blocks.recv())
                    except EOFError:
                        is_lost = True
                elif not worker.is_hung():
                    continue
                else:
                    is_lost = True
                if is_lost:
                    worker.end()
                    culprit = worker.note.read()
                    say(f"a process ended or hung: {block.reader}, input {culprit.number}")
                    if (rest := plan.crashed(block, culprit)) is not None:
                        rests.append(rest)
                    workers[place] = worker = _Worker(folder, place, seed)
                _give_next(worker, plan, rests, ends_at)
            if time.monotonic() >= says_at:
                says_at += 30.0
                say(f"{plan.inputs:,} inputs")
    finally:
        for worker in workers:
            worker.end()


def _give_next(worker: _Worker, plan: Plan, rests: list[Block], ends_at: float) -> None:
    over = time.monotonic() >= ends_at
    block = None if over else rests.pop() if rests else plan.next_block()
    if block is None:
        worker.block = None
    else:
        worker.give(block)
