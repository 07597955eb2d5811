"""What a request takes while it is answered, and how it ended: for the metrics and for its key's limits."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from p2pinfer.gateway.metrics import Metrics
from p2pinfer.openai_api.answering.choices import Usage
from p2pinfer.openai_api.errors import as_api_error, is_expected

logger = logging.getLogger(__name__)

CLIENT_LEFT = 499
"""As a status in metrics: nothing is answered."""

NO_TOKENS = Usage(prompt_tokens=0, cached_tokens=0, completion_tokens=0)


class Measure:
    """One request. Whoever answers it says how many tokens there are, and when the first one is there."""

    def __init__(self, metrics: Metrics, model: str) -> None:
        self.usage: Callable[[], Usage] = lambda: NO_TOKENS
        self.has_first = False
        self._metrics = metrics
        self._model = model
        self._began = time.monotonic()

    def first_token(self) -> None:
        """The first token of a text is there."""
        if not self.has_first:
            self.has_first = True
            self._metrics.first_token(self._model, self.seconds())

    def seconds(self) -> float:
        """Since the request came."""
        return time.monotonic() - self._began


@contextmanager
def measured(
    metrics: Metrics, endpoint: str, model: str, count_tokens: Callable[[int], None]
) -> Iterator[Measure]:
    """Measure what the block does. What is a fault of p2pinfer is logged. `count_tokens` is for limits."""
    measure = Measure(metrics, model)
    metrics.begun(model)
    status = CLIENT_LEFT
    try:
        yield measure
        status = 200
    except Exception as error:
        if not is_expected(error):
            logger.error("an answer failed because of a fault of p2pinfer", exc_info=error)
        status = as_api_error(error).status
        raise
    finally:
        usage = measure.usage()
        if measure.has_first or status == 200:  # otherwise the prompt was never computed
            count_tokens(usage.prompt_tokens + usage.completion_tokens)
            metrics.count(model, usage)
        metrics.ended(endpoint, model, status=status, seconds=measure.seconds(), had_first=measure.has_first)
