"""Copies that share pages, in random orders, against a model of what each cache holds and owns."""

from __future__ import annotations

import random
import threading
from itertools import count

import numpy as np
import pytest

from p2pinfer.model.engine.base import Chunk
from p2pinfer.model.engine.native.cache import NativeCache
from tests.model.engine.native.oracle import random_hidden, small_engine, small_shape

SHAPE = small_shape()
PAGE_TOKENS = 16
VECTORS = random_hidden(8, SHAPE.hidden, seed=3)


class Model:
    """What caches hold, and which pages they own: each page is a number."""

    def __init__(self, threads: int) -> None:
        self.engine = small_engine(SHAPE, threads=threads)
        self.caches: list[NativeCache] = []
        self.tokens: list[list[int]] = []
        self.pages: list[list[int]] = []
        self._numbers = count()
        self._known: dict[tuple[int, ...], np.ndarray] = {}

    def open(self) -> None:
        self.caches.append(self.engine.new_cache())
        self.tokens.append([])
        self.pages.append([])

    def release(self, index: int) -> None:
        self.caches.pop(index).release()
        self.tokens.pop(index)
        self.pages.pop(index)

    def rewind(self, index: int, length: int) -> None:
        self.caches[index].rewind(length)
        del self.tokens[index][length:]
        del self.pages[index][-(-length // PAGE_TOKENS) :]

    def copy(self, index: int, source: int, length: int) -> None:
        """As the server does it: to the common beginning, then a piece of the source."""
        held = len(self.tokens[index])
        self.caches[index].extend_from(self.caches[source], length)
        self._write(index, held, length, shared=self.pages[source])
        self.tokens[index] += self.tokens[source][held:length]

    def forward(self, chunks: dict[int, list[int]]) -> None:
        outputs = self.engine.forward(
            [Chunk(self.caches[index], VECTORS[tokens]) for index, tokens in chunks.items()]
        )
        for (index, tokens), output in zip(chunks.items(), outputs, strict=True):
            held = len(self.tokens[index])
            self.tokens[index] += tokens
            self._write(index, held, held + len(tokens))
            assert output.tobytes() == self._expected(self.tokens[index])[held:].tobytes()

    def check(self) -> None:
        assert [cache.length for cache in self.caches] == [len(tokens) for tokens in self.tokens]
        owned = {page for pages in self.pages for page in pages}
        assert self.engine.cache_bytes == len(owned) * PAGE_TOKENS * self.engine.cache_bytes_per_token
        layers = len(self.caches[0].layers) if self.caches else 0
        assert self.engine.cache_layer_tokens == layers * sum(map(len, self.tokens))

    def _write(self, index: int, start: int, end: int, shared: list[int] | None = None) -> None:
        pages = self.pages[index]
        owners = [page for others in self.pages for page in others]
        if start % PAGE_TOKENS and end > start and owners.count(pages[-1]) > 1:
            pages[-1] = next(self._numbers)
        for page in range(len(pages), -(-end // PAGE_TOKENS)):
            whole = (page + 1) * PAGE_TOKENS <= end
            pages.append(shared[page] if shared is not None and whole else next(self._numbers))

    def _expected(self, tokens: list[int]) -> np.ndarray:
        known = self._known.get(tuple(tokens))
        if known is None:
            alone = self.engine.new_cache()
            (known,) = self.engine.forward([Chunk(alone, VECTORS[tokens])])
            alone.release()
            self._known[tuple(tokens)] = known
        return known


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_copied_rewound_and_freed_every_cache_computes_what_it_would_alone(seed, threads):
    chance, model = random.Random(seed), Model(threads)
    for _ in range(120):
        act = chance.choice(["open", "release", "rewind", "copy", "copy", "forward", "forward", "forward"])
        some = list(range(len(model.caches)))
        if act == "open" or len(some) < 2:
            model.open()
        elif act == "release" and len(some) > 4:
            model.release(chance.choice(some))
        elif act == "rewind":
            index = chance.choice(some)
            model.rewind(index, chance.randint(0, len(model.tokens[index])))
        elif act == "copy":
            index, source = chance.sample(some, 2)
            same = 0
            for one, other in zip(model.tokens[index], model.tokens[source], strict=False):
                if one != other:
                    break
                same += 1
            model.rewind(index, chance.choice([0, same]))
            length = chance.randint(len(model.tokens[index]), len(model.tokens[source]))
            model.copy(index, source, length)
        elif act == "forward":
            chosen = chance.sample(some, chance.randint(1, len(some)))
            model.forward(
                {
                    index: [chance.randrange(8) for _ in range(chance.choice([1, 1, 7, 16, 33]))]
                    for index in chosen
                    if len(model.tokens[index]) < 150
                }
                or {chosen[0]: [1]}
            )
        model.check()
    while model.caches:
        model.release(0)
        model.check()


def test_copies_that_are_freed_while_another_grows_leave_its_tokens_alone():
    """The owner of a page may become the only one in the middle of a step of its own."""
    engine = small_engine(SHAPE, threads=2)
    hidden = random_hidden(60, SHAPE.hidden)
    alone = engine.new_cache()
    (expected,) = engine.forward([Chunk(alone, hidden)])
    for _ in range(20):
        source = engine.new_cache()
        engine.forward([Chunk(source, hidden[:40])])
        copies = [engine.new_cache() for _ in range(8)]
        for copy in copies:
            copy.extend_from(source, 40)
            copy.rewind(37)
        freeing = threading.Thread(target=lambda held: [copy.release() for copy in held], args=(copies[1:],))
        freeing.start()
        (found,) = engine.forward([Chunk(copies[0], hidden[37:])])
        freeing.join()
        assert found.tobytes() == expected[37:].tobytes()
        (found,) = engine.forward([Chunk(source, hidden[40:])])
        assert found.tobytes() == expected[40:].tobytes()
        source.release()
        copies[0].release()
    alone.release()
    assert engine.cache_bytes == 0
