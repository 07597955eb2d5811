"""Runs the work of requests: admits them, makes their texts, and counts. What endpoints share."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

from p2pinfer.documents.jobs.job import Spent
from p2pinfer.gateway.access.keys import Key
from p2pinfer.gateway.access.visitors import Visitors
from p2pinfer.gateway.answering.server_sent import Streams
from p2pinfer.gateway.batches.batches import Batches
from p2pinfer.gateway.batches.one_batch import BatchTools
from p2pinfer.gateway.metrics import Metrics
from p2pinfer.gateway.settings import Settings
from p2pinfer.gateway.storage import Storage
from p2pinfer.gateway.uploads.uploads import Uploads
from p2pinfer.openai_api.answering.choices import Choices, Piece, Usage
from p2pinfer.openai_api.errors import as_api_error, is_expected
from p2pinfer.openai_api.work.registry import Models
from p2pinfer.openai_api.work.work import Work

logger = logging.getLogger(__name__)

CLIENT_LEFT = 499
"""As a status in metrics: nothing is answered."""


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

    @asynccontextmanager
    async def running(self, endpoint: str, key: Key | None, work: Work) -> AsyncIterator[Run]:
        """The answers of a request, until the block ends. Raises ApiError and UsageError."""
        choices = Choices(work.model.text, work.requests, per_prompt=work.per_prompt)
        with self.visitors.admitted(key) as count_tokens:
            run = Run(choices, self.metrics, work.model.id)
            self.metrics.begun(work.model.id)
            status = CLIENT_LEFT
            try:
                async with choices:
                    yield run
                status = 200
            except Exception as error:
                if not is_expected(error):
                    logger.error("an answer failed because of a fault of p2pinfer", exc_info=error)
                status = as_api_error(error).status
                raise
            finally:
                usage = run.usage()
                if run.has_first:
                    count_tokens(usage.prompt_tokens + usage.completion_tokens)
                self.metrics.ended(
                    endpoint,
                    work.model.id,
                    status=status,
                    seconds=run.seconds(),
                    usage=usage,
                    had_first=run.has_first,
                )


class Run:
    """The answers of one request while they are made."""

    def __init__(self, choices: Choices, metrics: Metrics, model: str) -> None:
        self.choices = choices
        self.has_first = False
        self._metrics = metrics
        self._model = model
        self._began = time.monotonic()

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """The pieces as they come. To be closed by who iterates (`aclosing`)."""
        async with aclosing(self.choices.pieces()) as pieces:
            async for piece in pieces:
                if not self.has_first:
                    self.has_first = True
                    self._metrics.first_token(self._model, self.seconds())
                yield piece

    def usage(self) -> Usage:
        """The tokens so far."""
        if not self.choices.texts:
            return Usage(prompt_tokens=0, cached_tokens=0, completion_tokens=0)
        return self.choices.usage()

    def seconds(self) -> float:
        """Since the request came."""
        return time.monotonic() - self._began
