"""How much each key may ask for. In memory: a restart begins to count anew."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from p2pinfer.gateway.access.keys import Key
from p2pinfer.openai_api.errors import ApiError

_DAY_SECONDS = 86_400
_MINUTE_SECONDS = 60.0
_CONCURRENT_RETRY_SECONDS = 1.0


@dataclass(slots=True)
class _Use:
    """What a key has asked for."""

    free_at: float = 0.0  # when all requests so far have been paid for, at the key's rate
    day: int = 0
    tokens: int = 0  # on that day
    running: int = 0


class Limits:
    """What each key has used. For the event loop. `now` gives Unix seconds."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._uses: dict[str, _Use] = {}

    def begin(self, key: Key) -> None:
        """Count a request; `end` has to follow. Raises ApiError with status 429 if it is one too many.

        A minute's requests may come all at once; then each costs its share of a minute (a leaky bucket).
        """
        now = self._now()
        use = self._use(key, now)
        if key.concurrent is not None and use.running >= key.concurrent:
            raise _too_many(
                f"This key may have {key.concurrent:,} requests at the same time.", _CONCURRENT_RETRY_SECONDS
            )
        if not self.has_tokens_left(key):
            raise _too_many(
                f"This key has used its {key.tokens_per_day:,} tokens of today.",
                _DAY_SECONDS - now % _DAY_SECONDS,
            )
        if key.requests_per_minute is not None:
            share = _MINUTE_SECONDS / key.requests_per_minute
            use.free_at = min(use.free_at, now + _MINUTE_SECONDS)  # beyond it: a clock was set back
            free_at = max(use.free_at, now) + share
            if free_at - now > _MINUTE_SECONDS + share / 2:
                raise _too_many(
                    f"This key may make {key.requests_per_minute:,} requests in a minute.",
                    free_at - now - _MINUTE_SECONDS,
                )
            use.free_at = free_at
        use.running += 1

    def has_tokens_left(self, key: Key) -> bool:
        """Whether the key hasn't used its tokens of today."""
        return key.tokens_per_day is None or self._use(key, self._now()).tokens < key.tokens_per_day

    def count(self, key: Key, tokens: int) -> None:
        """Add the tokens of a prompt or of an answer."""
        self._use(key, self._now()).tokens += tokens

    def end(self, key: Key) -> None:
        """A request has ended."""
        self._use(key, self._now()).running -= 1

    def _use(self, key: Key, now: float) -> _Use:
        use = self._uses.setdefault(key.id, _Use())
        today = int(now // _DAY_SECONDS)
        if use.day != today:
            use.day, use.tokens = today, 0
        return use


def _too_many(message: str, retry_after_seconds: float) -> ApiError:
    return ApiError(
        429,
        message,
        kind="rate_limit_error",
        code="rate_limit_exceeded",
        retry_after_seconds=retry_after_seconds,
    )
