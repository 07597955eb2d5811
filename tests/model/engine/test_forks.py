"""A copied row continues with the bytes of a row that was computed, in every engine and family."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from p2pinfer.model.engine import load_engine
from p2pinfer.model.engine.base import Chunk, Engine, Hidden
from p2pinfer.model.engine.native.engine import available, supports
from p2pinfer.model.families import FAMILIES
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.types import Span
from tests.model.tiny_models import run_in_pieces, tiny_store

TOKENS = 40
"""Beyond two pages of the native engine, and many windows of 5."""


def inputs(engine: Engine, tokens: int = TOKENS, seed: int = 0) -> Hidden:
    return np.random.default_rng(seed).standard_normal((tokens, engine.hidden_size)).astype(np.float32)


def engines_of(store: LayerStore) -> list[Engine]:
    names = ["reference"]
    if available() and supports(store.config_fields) is None:
        names.append("native")
    return [load_engine(store, store.span, engine=name) for name in names]


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_row_that_was_forked_anywhere_continues_with_the_bytes_of_one_that_was_computed(
    tmp_path: Path, family: str
):
    """Also where windows of attention have slid on: caches keep what windows have left behind."""
    for engine in engines_of(tiny_store(tmp_path, family)):
        hidden = inputs(engine)
        expected = run_in_pieces(engine, hidden, [TOKENS])
        source = engine.new_cache()
        engine.forward([Chunk(source, hidden[:35])])
        for tokens in (1, 4, 5, 6, 16, 17, 32, 35):
            row = engine.new_cache()
            row.extend_from(source, tokens // 2)
            row.extend_from(source, tokens)
            (rest,) = engine.forward([Chunk(row, hidden[tokens:])])
            assert rest.tobytes() == expected[tokens:].tobytes(), (engine.numerics, tokens)
        (rest,) = engine.forward([Chunk(source, hidden[35:])])
        assert rest.tobytes() == expected[35:].tobytes()


@pytest.fixture(scope="module", params=["reference", "native"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    if request.param == "native" and not available():
        pytest.skip("the native engine is not built")
    store = tiny_store(tmp_path_factory.mktemp("model"), "qwen2")
    return load_engine(store, store.span, engine=request.param)


def test_source_and_copy_live_apart(engine: Engine):
    """Each goes on with other tokens, or is freed, and the other one doesn't notice."""
    hidden, other = inputs(engine), inputs(engine, seed=1)
    source, copy = engine.new_cache(), engine.new_cache()
    engine.forward([Chunk(source, hidden[:20])])
    copy.extend_from(source, 18)
    engine.forward([Chunk(copy, other[:5]), Chunk(source, other[5:9])])
    source.rewind(3)
    engine.forward([Chunk(source, other[:20])])
    source.release()
    copy.rewind(18)
    (rest,) = engine.forward([Chunk(copy, hidden[18:])])
    assert rest.tobytes() == run_in_pieces(engine, hidden, [TOKENS])[18:].tobytes()


def test_a_copy_is_appended_behind_the_tokens_that_are_there(engine: Engine):
    hidden = inputs(engine)
    source, copy = engine.new_cache(), engine.new_cache()
    engine.forward([Chunk(source, hidden[:30])])
    engine.forward([Chunk(copy, hidden[:7])])
    copy.extend_from(source, 30)
    assert copy.length == 30
    (rest,) = engine.forward([Chunk(copy, hidden[30:])])
    assert rest.tobytes() == run_in_pieces(engine, hidden, [TOKENS])[30:].tobytes()


def test_what_cannot_be_copied_is_refused_and_changes_nothing(engine: Engine):
    source, copy, part = engine.new_cache(), engine.new_cache(), engine.new_cache(Span(1, 3))
    engine.forward([Chunk(source, inputs(engine, 5)), Chunk(copy, inputs(engine, 3))])
    for tokens in (6, 2, -1):
        with pytest.raises(ValueError, match="holds 5"):
            copy.extend_from(source, tokens)
    with pytest.raises(ValueError, match="can't copy"):
        part.extend_from(source, 3)
    with pytest.raises(ValueError, match="twice"):
        source.extend_from(source, 5)
    with pytest.raises(TypeError):
        copy.extend_from(object(), 5)  # type: ignore[arg-type]
    gone = engine.new_cache()
    gone.release()
    with pytest.raises(ValueError, match="released"):
        gone.extend_from(source, 3)
    assert (source.length, copy.length, part.length) == (5, 3, 0)
    copy.extend_from(source, 5)
