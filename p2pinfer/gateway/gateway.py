"""Runs the work of requests: admits them, makes their texts, and counts. What endpoints share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import replace

from p2pinfer.documents.jobs.job import Spent
from p2pinfer.gateway.access.keys import Key
from p2pinfer.gateway.access.visitors import Visitors
from p2pinfer.gateway.answering.server_sent import Streams
from p2pinfer.gateway.batches.batches import Batches
from p2pinfer.gateway.batches.one_batch import BatchTools
from p2pinfer.gateway.measure import NO_TOKENS, Measure, measured
from p2pinfer.gateway.metrics import Metrics
from p2pinfer.gateway.settings import Settings
from p2pinfer.gateway.storage import Storage
from p2pinfer.gateway.uploads.uploads import Uploads
from p2pinfer.openai_api.answering.choices import Choices, Piece, Usage
from p2pinfer.openai_api.work.registry import Models
from p2pinfer.openai_api.work.work import Work


class Gateway:
    """The parts of one application. For the event loop."""

    def __init__(self, models: Models, settings: Settings, storage: Storage | None) -> None:
        self.models = models
        self.settings = settings
        self.visitors = Visitors(settings.keys, most_requests=settings.most_requests)
        self.metrics = Metrics()
        self.streams = Streams()
        self.uploads: Uploads | None = None
        self.batches: Batches | None = None
        """None: there are no files and no batches. Otherwise somebody has to run them."""
        if storage is not None:
            self.uploads = Uploads(storage)
            self.batches = Batches(
                BatchTools(
                    storage=storage,
                    models=models,
                    most_tokens=settings.most_tokens,
                    may_go_on=self.visitors.may_go_on,
                    count=self._count_batch,
                )
            )

    def _count_batch(self, owner: str, model: str, spent: Spent) -> None:
        usage = Usage(
            prompt_tokens=spent.prefill_tokens + spent.cached_tokens,
            cached_tokens=spent.cached_tokens,
            completion_tokens=spent.decode_tokens,
        )
        self.visitors.count_batch(owner, usage.prompt_tokens + usage.completion_tokens)
        self.metrics.count(model, usage)

    @contextmanager
    def measured(self, endpoint: str, key: Key | None, model: str) -> Iterator[Measure]:
        """Answer a request in the block: it is admitted, measured, and counted for its key.

        Raises ApiError with status 429 if the gateway is full, or the key has had its share.
        """
        with (
            self.visitors.admitted(key) as count_tokens,
            measured(self.metrics, endpoint, model, count_tokens) as measure,
        ):
            yield measure

    @asynccontextmanager
    async def running(self, endpoint: str, key: Key | None, work: Work) -> AsyncIterator[Run]:
        """The answers of a request, until the block ends. Raises ApiError and UsageError."""
        requests = work.requests
        if key is not None:  # how soon an answer comes tells nobody what others have asked
            requests = tuple(replace(one, cache_scope=key.id) for one in requests)
        choices = Choices(work.model.text, requests, per_prompt=work.per_prompt)
        with self.measured(endpoint, key, work.model.id) as measure:
            run = Run(choices, measure)
            measure.usage = run.usage
            async with choices:
                yield run


class Run:
    """The answers of one request while they are made."""

    def __init__(self, choices: Choices, measure: Measure) -> None:
        self.choices = choices
        self._measure = measure

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """The pieces as they come. To be closed by who iterates (`aclosing`)."""
        async with aclosing(self.choices.pieces()) as pieces:
            async for piece in pieces:
                self._measure.first_token()
                yield piece

    def usage(self) -> Usage:
        """The tokens so far."""
        return self.choices.usage() if self.choices.texts else NO_TOKENS
