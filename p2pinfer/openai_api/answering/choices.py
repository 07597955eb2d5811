"""The texts of one request, as one sequence of pieces: `n` answers are made at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from p2pinfer.client.texts.request import TextEnd, TextPart, TextRequest
from p2pinfer.openai_api.work.served_model import MakesTexts
from p2pinfer.openai_api.work.served_text import ServedText
from p2pinfer.tasks import Nursery

_PIECES_AHEAD = 4
"""What a choice may be ahead of a slow reader."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The next piece of one choice, or its end."""

    index: int
    content: TextPart | TextEnd


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a request took, in tokens."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


class Choices:
    """The answers of one request while they are made. Leaving the block frees their rows at once."""

    def __init__(self, model: MakesTexts, requests: Sequence[TextRequest], *, per_prompt: int) -> None:
        """Each `per_prompt` requests in a row have the same prompt. `__aenter__` begins them."""
        self._model = model
        self._requests = requests
        self._per_prompt = per_prompt
        self._stack = AsyncExitStack()
        self._completion_tokens = [0] * len(requests)
        self.texts: list[ServedText] = []

    async def __aenter__(self) -> Choices:
        """Raises UsageError if one of the requests can't be answered; then none is begun."""
        try:
            for request in self._requests:
                self.texts.append(await self._stack.enter_async_context(self._model.generate(request)))
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._stack.aclose()

    def __len__(self) -> int:
        return len(self._requests)

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """The pieces of all choices as they come. To be closed by who iterates (`aclosing`).

        Raises what a text raises; the others are then ended with their block.
        """
        if len(self.texts) == 1:
            async for piece in self._of(0):
                yield piece
            return
        queue: asyncio.Queue[Piece | Exception] = asyncio.Queue(_PIECES_AHEAD * len(self.texts))
        nursery = Nursery()
        try:
            for index in range(len(self.texts)):
                nursery.start(self._put_all(index, queue))
            left = len(self.texts)
            while left:
                come = await queue.get()
                if isinstance(come, Exception):
                    raise come
                left -= isinstance(come.content, TextEnd)
                yield come
        finally:
            await nursery.close()

    def usage(self) -> Usage:
        """What was taken so far. A prompt that has several answers counts once."""
        prompts = range(0, len(self._requests), self._per_prompt)
        return Usage(
            prompt_tokens=sum(len(self._requests[index].prompt) for index in prompts),
            cached_tokens=sum(
                self.texts[index].cached_tokens for index in prompts if index < len(self.texts)
            ),
            completion_tokens=sum(self._completion_tokens),
        )

    async def _of(self, index: int) -> AsyncIterator[Piece]:
        text = self.texts[index]
        async for part in text:
            self._completion_tokens[index] += len(part.tokens)
            yield Piece(index, part)
        assert text.end is not None, "a text ended without an end"
        self._completion_tokens[index] = text.end.completion_tokens
        yield Piece(index, text.end)

    async def _put_all(self, index: int, queue: asyncio.Queue[Piece | Exception]) -> None:
        try:
            async for piece in self._of(index):
                await queue.put(piece)
        except Exception as error:  # noqa: BLE001 - raised where the pieces are read
            await queue.put(error)
