"""A prefix that was kept, and recalled in part, continues with the bytes of one that was computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from p2pinfer.model.engine.base import Chunk, Engine
from p2pinfer.server.compute.batcher import Batcher
from p2pinfer.server.compute.computed import Computed
from p2pinfer.server.streams.packing import ResultPacker, StepPacker
from p2pinfer.server.streams.prefix_runs import PrefixRuns
from p2pinfer.wire.prefix_steps import Prefix
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import Contract, Outputs, RowChunk, Step
from tests.fakes import SPEED
from tests.model.engine.test_forks import engines_of, inputs
from tests.model.tiny_models import run_in_pieces, tiny_store

TOKENS = 40


class Session:
    """One session's rows at one server, whose prefixes outlive it."""

    def __init__(self, engine: Engine, batcher: Batcher, *, is_last_hop: bool) -> None:
        contract = Contract(rows=1, max_tokens=64, hidden_size=engine.hidden_size)
        packer = ResultPacker(contract) if is_last_hop else StepPacker(contract, pass_history_on=False)
        self.cache, self.packer, self.batcher = engine.new_cache(), packer, batcher
        self.runs = PrefixRuns(
            batcher=batcher, client=b"alice", contract=contract, caches=[self.cache], packer=packer
        )

    def run(self, kind: StepKind, tokens: int) -> tuple[Computed, bool]:
        step = Step(1, kind, Outputs.NONE, [], b"", prefix=Prefix(0, tokens, bytes(32)))
        reports: list[tuple[Computed | Exception, bool]] = []
        self.runs.run(step, lambda outcome, is_lacking: reports.append((outcome, is_lacking)))
        while not reports:
            self.batcher.run()
        (outcome, is_lacking) = reports[0]
        assert isinstance(outcome, Computed)
        return outcome, is_lacking

    def end(self) -> None:
        self.batcher.release([self.cache])
        self.runs.release()


@pytest.mark.parametrize("family", ["qwen2", "gemma2"])
@pytest.mark.parametrize("is_last_hop", [False, True])
def test_recalled_rows_go_on_bit_for_bit_after_the_session_that_kept_them(
    tmp_path: Path, family: str, is_last_hop: bool
):
    for engine in engines_of(tiny_store(tmp_path, family)):
        hidden = inputs(engine)
        expected = run_in_pieces(engine, hidden, [TOKENS])
        batcher = Batcher(engine, SPEED)
        batcher.prefixes.set_limit(10_000)
        one = Session(engine, batcher, is_last_hop=is_last_hop)
        (outputs,) = engine.forward([Chunk(one.cache, hidden[:35])])
        if isinstance(one.packer, StepPacker):
            one.packer.sent_outputs.record([RowChunk(0, 0, outputs)])
        assert one.run(StepKind.KEEP, 35)[1] is False
        engine.forward([Chunk(one.cache, inputs(engine, 5, seed=9))])  # it goes on with something else
        one.end()
        for tokens in (35, 32, 17, 1):
            other = Session(engine, batcher, is_last_hop=is_last_hop)
            engine.forward([Chunk(other.cache, inputs(engine, 3, seed=7))])  # what the row had before
            outcome, is_lacking = other.run(StepKind.RECALL, tokens)
            assert not is_lacking
            if not is_last_hop:
                (kept,) = outcome.outputs
                assert kept.tobytes() == expected[:tokens].tobytes()
            (rest,) = engine.forward([Chunk(other.cache, hidden[tokens:])])
            assert rest.tobytes() == expected[tokens:].tobytes()
            other.end()
        batcher.prefixes.clear()


def test_an_engine_that_is_full_keeps_nothing_and_the_session_goes_on(tmp_path: Path):
    for engine in engines_of(tiny_store(tmp_path, "qwen2")):
        batcher = Batcher(engine, SPEED)
        batcher.prefixes.set_limit(10_000)
        one = Session(engine, batcher, is_last_hop=True)
        hidden = inputs(engine)
        engine.forward([Chunk(one.cache, hidden[:35])])
        new_cache = engine.new_cache

        class Full:
            layers = one.cache.layers
            length = 0

            def rewind(self, length: int) -> None: ...

            def release(self) -> None: ...

            def extend_from(self, source: object, length: int) -> None:
                raise MemoryError("the caches are full")

        batcher.prefixes._new_cache = lambda layers: Full()
        assert one.run(StepKind.KEEP, 35)[1] is True
        assert batcher.prefixes.layer_tokens == 0
        batcher.prefixes._new_cache = new_cache
        (rest,) = engine.forward([Chunk(one.cache, hidden[35:])])
        assert np.isfinite(rest).all()
