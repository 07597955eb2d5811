"""A stream with nothing around it: lanes are words, and a test plays sockets, engine and event loop."""

from __future__ import annotations

import numpy as np

from p2pinfer.server.streams.actions import RunStep, Send
from p2pinfer.server.streams.allowance import UNLIMITED, Trust
from p2pinfer.server.streams.progress import Progress
from p2pinfer.server.streams.step_stream import StepStream
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.prefix_steps import Feed, Prefix
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import (
    Contract,
    Fork,
    Outputs,
    RowChunk,
    Step,
    hop_time,
    pack_feed,
    pack_fork,
    pack_prefix,
    pack_step,
    read_step,
)
from tests.fakes import HIDDEN_SIZE, Hidden

KEY, NEXT_KEY, RESULTS_KEY = bytes(32), bytes([1] * 32), bytes([2] * 32)
MAX_TOKENS = 64

Actions = list[object]


def tokens_at(position: int, tokens: int, row: int = 0) -> Hidden:
    """The input of some positions: always the same numbers for the same positions."""
    columns = np.arange(HIDDEN_SIZE, dtype=np.float32) + row * 1000
    return np.arange(position, position + tokens, dtype=np.float32)[:, None] * 10 + columns


def step_frame(
    step_id: int, position: int, tokens: int = 1, row: int = 0, *, outputs: Outputs = Outputs.ALL
) -> bytes:
    """A step of one row; id 0 is a step of the history."""
    kind = StepKind.PREFILL if step_id else StepKind.HISTORY
    chunk = RowChunk(row, position, tokens_at(position, tokens, row))
    return pack_step(step_id, kind, [chunk], outputs if step_id else Outputs.NONE, pb.FLOAT32)


def fork_frame(step_id: int, *forks: tuple[int, int, int]) -> bytes:
    """A step that forks rows; each fork is (row, source, tokens)."""
    return pack_fork(step_id, [Fork(*fork) for fork in forks])


NAME = bytes(range(32))


def prefix_frame(step_id: int, kind: StepKind, row: int, tokens: int, **more: object) -> bytes:
    """A step that keeps the first tokens of a row, or recalls them."""
    return pack_prefix(step_id, kind, Prefix(row, tokens, NAME), **more)


def feed_frame(step_id: int, start: int, end: int, *, hop: int, row: int = 0) -> bytes:
    """A step that feeds the hop with this number; this one is number 0."""
    return pack_feed(step_id, Feed(row, start, end, hop))


def compute(step: Step) -> list[Hidden]:
    """The output of our engine for a step."""
    return [chunk.hidden + 1 for chunk in step.chunks]


class AStream:
    """One session's stream. Its first lane is "steps"; outputs go to "out" unless a test says otherwise."""

    def __init__(
        self,
        *,
        rows: int = 1,
        limit_tokens: int = 1000,
        is_last_hop: bool = False,
        pass_history_on: bool = False,
        led: bool = True,
        trust: Trust = UNLIMITED,
    ) -> None:
        self.contract = Contract(rows=rows, max_tokens=MAX_TOKENS, hidden_size=HIDDEN_SIZE)
        self.progress = Progress()
        self.stream: StepStream[str] = StepStream(
            contract=self.contract,
            steps_key=KEY,
            limit_tokens=limit_tokens,
            progress=self.progress,
            results_key=RESULTS_KEY if is_last_hop else b"",
            pass_history_on=pass_history_on,
            trust=trust,
        )
        assert self.stream.offer_steps_lane("steps", KEY)
        if led:
            assert list(self.stream.lead("out")) == []

    def take(self, frame: bytes, lane: str = "steps") -> Actions:
        """A frame comes."""
        assert lane in self.stream.readable, "the stream doesn't want to be told yet"
        return list(self.stream.take_frame(lane, frame))

    def compute(self, actions: Actions) -> Actions:
        """The step that the last of these actions begins is computed."""
        assert isinstance(actions[-1], RunStep)
        return list(self.stream.computed(compute(actions[-1].step), 0.5, 0.25))

    def run(self, frame: bytes, lane: str = "steps") -> Actions:
        """A frame comes and is computed. Returns what then follows."""
        return self.compute(self.take(frame, lane))

    def through(self, frame: bytes, lane: str = "steps") -> None:
        """A frame comes, is computed, and its outputs are taken."""
        actions = self.run(frame, lane)
        if isinstance(actions[-1], Send):
            self.stream.outputs_taken(actions[-1].lane)

    def sent(self, actions: Actions) -> Step:
        """The step that the last of these actions sends to the next hop."""
        assert isinstance(actions[-1], Send)
        return read_step(actions[-1].frame, self.contract, [MAX_TOKENS] * self.contract.rows)


TIMES = hop_time(0.5, 0.25)
