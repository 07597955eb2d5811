"""The plain client: texts from a swarm for programs without an event loop, torch or transformers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from p2pinfer.client.batching.row_pool import PoolLimits
from p2pinfer.client.patience import Patience
from p2pinfer.client.texts.request import RouteView, TextEnd, TextPart, TextRequest
from p2pinfer.client.texts.text import Text
from p2pinfer.client.texts.text_model import TextModel
from p2pinfer.errors import UsageError
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.model.sampling.options import SamplingOptions
from p2pinfer.tasks import cancel_and_wait
from p2pinfer.threads import LoopGoneError, run_in_loop, tell

T = TypeVar("T")

Prompt = str | Sequence[int] | Sequence[Mapping[str, Any]]
"""A text, token ids, or the messages of a chat: `[{"role": "user", "content": "Hi"}]`."""

_CLOSED = "this client was closed: open another one"

GREEDY = SamplingOptions(temperature=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer, how long it took, and which servers computed it."""

    text: str
    tokens: list[int]
    end: TextEnd
    first_token_seconds: float
    """With the waiting for a route and for a row."""
    seconds: float
    route: RouteView

    @property
    def tokens_per_second(self) -> float | None:
        """The rate after the first token; None if there is only one."""
        rest = self.seconds - self.first_token_seconds
        return (len(self.tokens) - 1) / rest if len(self.tokens) > 1 and rest > 0 else None


class PlainClient:
    """One model in one swarm, for any number of threads. A context manager that leaves the swarm.

    from p2pinfer.client.plain import PlainClient

    with PlainClient(name, initial_peers=[address]) as client:
        print(client.generate("The capital of France is", max_tokens=8).text)
        for piece in client.stream([{"role": "user", "content": "Tell me a story."}]):
            print(piece, end="", flush=True)
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        initial_peers: str | Sequence[str],
        cache_folder: Path | None = None,
        patience: Patience | None = None,
        join_timeout: float = 20.0,
        limits: PoolLimits | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        """Load what a client needs of the model, and join.

        Raises ModelError, UsageError, SwarmUnreachableError, SwarmError.
        """
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="p2pinfer-plain", daemon=True)
        self._thread.start()
        self._is_closed = False
        self._process = os.getpid()
        try:
            self.model = self._run(
                TextModel.open(
                    model,
                    initial_peers=initial_peers,
                    cache_folder=cache_folder,
                    patience=patience,
                    join_timeout_seconds=join_timeout,
                    limits=limits,
                    progress=progress,
                )
            )
        except BaseException:
            self._end_loop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def manifest(self) -> Manifest:
        """The model's manifest."""
        return self.model.manifest

    def close(self) -> None:
        """Leave the swarm; texts that other threads wait for get a UsageError. Closing twice is harmless."""
        if self._is_closed:
            return
        self._is_closed = True
        if os.getpid() != self._process:
            return  # a child of a fork has no such thread; what it would close is its parent's
        try:
            self._run(self.model.close())
        finally:
            self._end_loop()

    def generate(
        self,
        prompt: Prompt,
        *,
        max_tokens: int | None = None,
        sampling: SamplingOptions = GREEDY,
        stop: Sequence[str] = (),
        end_tokens: frozenset[int] | None = None,
    ) -> Answer:
        """Return the answer to a prompt: by default of the likeliest tokens, to the model's own end.

        `end_tokens` are used in the place of the model's own ones. Raises UsageError, PromptTooLongError,
        NoRouteError, HopFailedError, RefusedError.
        """
        request = self._request(prompt, max_tokens, sampling, stop, end_tokens)
        return self._run(_whole(self.model, request))

    def stream(
        self,
        prompt: Prompt,
        *,
        max_tokens: int | None = None,
        sampling: SamplingOptions = GREEDY,
        stop: Sequence[str] = (),
    ) -> Iterator[str]:
        """Yield the answer piece by piece, as it comes. To leave the loop frees what the servers hold."""
        text = self._run(_begun(self.model, self._request(prompt, max_tokens, sampling, stop, None)))
        try:
            while (part := self._run(anext(text, None))) is not None:
                if part.text:
                    yield part.text
        finally:
            with contextlib.suppress(UsageError):  # closed meanwhile
                self._run(text.aclose())

    def _request(
        self,
        prompt: Prompt,
        max_tokens: int | None,
        sampling: SamplingOptions,
        stop: Sequence[str],
        end_tokens: frozenset[int] | None,
    ) -> TextRequest:
        return TextRequest(
            prompt=self._tokens(prompt),
            max_tokens=max_tokens,
            sampling=sampling,
            stop=tuple(stop),
            stop_tokens=end_tokens,
        )

    def _tokens(self, prompt: Prompt) -> list[int]:
        if isinstance(prompt, str):
            return self.model.tokenizer.encode(prompt)
        ids = [part for part in prompt if isinstance(part, int)]
        if len(ids) == len(prompt):
            return ids
        return self.model.chat_tokens([part for part in prompt if isinstance(part, Mapping)])

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if os.getpid() != self._process:
            work.close()
            raise UsageError("this client is the parent's: after a fork, the child has to open its own")
        if not self._thread.is_alive():
            work.close()
            raise UsageError(_CLOSED)
        try:
            return run_in_loop(self._loop, self._thread, work)
        except (LoopGoneError, asyncio.CancelledError) as error:  # closed meanwhile
            raise UsageError(_CLOSED) from error

    def _end_loop(self) -> None:
        with contextlib.suppress(LoopGoneError):
            run_in_loop(self._loop, self._thread, _end_tasks())
        tell(self._loop, self._loop.stop)
        self._thread.join(timeout=10)
        if not self._thread.is_alive():
            self._loop.close()


async def _end_tasks() -> None:
    """Threads that still wait get an error, instead of waiting for a loop that has ended."""
    await cancel_and_wait(*(asyncio.all_tasks() - {asyncio.current_task()}))


async def _begun(model: TextModel, request: TextRequest) -> Text:
    return model.generate(request)


async def _whole(model: TextModel, request: TextRequest) -> Answer:
    began = time.monotonic()
    first = None
    parts: list[TextPart] = []
    async with model.generate(request) as text:
        async for part in text:
            first = first or time.monotonic() - began
            parts.append(part)
        seconds = time.monotonic() - began
        route = text.route()
    assert text.end is not None
    return Answer(
        text="".join(part.text for part in parts),
        tokens=[token.token for part in parts for token in part.tokens],
        end=text.end,
        first_token_seconds=first or seconds,
        seconds=seconds,
        route=route,
    )
