"""The same texts without a gateway: by a session and a thread for each, and by one `TextModel`."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from p2pinfer.client.remote_model import RemoteModel
from p2pinfer.client.session import InferenceSession
from p2pinfer.client.texts.request import TextRequest
from p2pinfer.client.texts.text_model import TextModel

Tokens = list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The texts of one turn. Seconds count from the moment when all were asked for."""

    seconds: float
    texts: list[str]
    tokens: list[Tokens]
    """Those that are shown: without the one that ends a text."""

    completion_tokens: int
    """Of all texts; an end token counts."""

    first_seconds: list[float]


class Sessions:
    """One thread and one session of one row for each text, as programs without `TextModel` do it.

    The routes are opened before the clock runs, as those of the others are.
    """

    def __init__(
        self, remote: RemoteModel, decode: Callable[[Tokens], str], end_tokens: frozenset[int]
    ) -> None:
        self._remote = remote
        self._decode = decode
        self._end_tokens = end_tokens

    def make(self, prompts: Sequence[Tokens], most_tokens: int) -> Made:
        """The likeliest texts. Blocks."""
        began: list[float] = []
        gate = threading.Barrier(len(prompts), action=lambda: began.append(time.perf_counter()))

        def one(prompt: Tokens) -> tuple[Tokens, int, float, float]:
            with self._remote.session(len(prompt) + most_tokens) as session:
                session.compute([prompt[:1]], [1])  # opens the route
                gate.wait()
                return self._grow(session, prompt, most_tokens)

        with ThreadPoolExecutor(len(prompts)) as threads:
            grown = list(threads.map(one, prompts))
        start = began[0]
        return Made(
            seconds=max(end for *_, end in grown) - start,
            texts=[self._decode(tokens) for tokens, *_ in grown],
            tokens=[tokens for tokens, *_ in grown],
            completion_tokens=sum(count for _, count, *_ in grown),
            first_seconds=[first - start for *_, first, _ in grown],
        )

    def _grow(
        self, session: InferenceSession, prompt: Tokens, most_tokens: int
    ) -> tuple[Tokens, int, float, float]:
        row, first_at, count = list(prompt), 0.0, 0
        while count < most_tokens:
            (hidden,) = session.compute([row], [1])
            token = int(self._remote.ends.logits(hidden)[-1].argmax())
            count += 1
            first_at = first_at or time.perf_counter()
            if token in self._end_tokens:
                break
            row.append(token)
        return row[len(prompt) :], count, first_at, time.perf_counter()


async def make_texts(model: TextModel, requests: Sequence[TextRequest]) -> Made:
    """All texts at the same time, by one model in this event loop."""
    start = time.perf_counter()

    async def one(request: TextRequest) -> tuple[str, Tokens, int, float]:
        texts: list[str] = []
        tokens: Tokens = []
        first_at = 0.0
        async with model.generate(request) as text:
            async for part in text:
                first_at = first_at or time.perf_counter()
                texts.append(part.text)
                tokens += [token.token for token in part.tokens]
            assert text.end is not None
            return "".join(texts), tokens, text.end.completion_tokens, first_at

    grown = await asyncio.gather(*map(one, requests))
    return Made(
        seconds=time.perf_counter() - start,
        texts=[text for text, *_ in grown],
        tokens=[tokens for _, tokens, *_ in grown],
        completion_tokens=sum(count for *_, count, _ in grown),
        first_seconds=[first - start for *_, first in grown],
    )
