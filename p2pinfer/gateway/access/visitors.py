"""Who sends a request: the key that it has, and what that key may still ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from starlette.requests import Request

from p2pinfer.gateway.access.keys import Key, find_key
from p2pinfer.gateway.access.limits import Limits
from p2pinfer.openai_api.errors import ApiError

_FULL_RETRY_SECONDS = 2.0

ANYBODY = "gateway"
"""Who owns files and batches where no key is needed. Jobs of `documents run` have no owner."""


def owner_of(key: Key | None) -> str:
    """Whose files and batches a request means."""
    return ANYBODY if key is None else key.id


def cache_scope_of(owner: str) -> str:
    """What the texts of an owner's batches share: what those of his requests do. Without keys all share."""
    return "" if owner == ANYBODY else owner


class Visitors:
    """The requests that are being answered. For the event loop."""

    def __init__(self, keys: Callable[[], Mapping[str, Key]] | None, *, most_requests: int) -> None:
        """`keys` gives the keys of now; None: no key is needed."""
        self._keys = keys
        self._limits = Limits()
        self._most_requests = most_requests
        self._running = 0

    def check(self, request: Request) -> Key | None:
        """The key of a request, None where none is needed. Raises ApiError with status 401."""
        if self._keys is None:
            return None
        scheme, _, sent = request.headers.get("authorization", "").partition(" ")
        text = sent.strip() if scheme.lower() == "bearer" else ""
        if not text:
            raise ApiError(
                401,
                "This gateway needs an API key, in the header 'Authorization: Bearer p2p-...'. Its operator "
                "makes one with: python -m p2pinfer.gateway keys add NAME",
                code="invalid_api_key",
            )
        key = find_key(text, self._keys())
        if key is None:
            raise ApiError(401, "This API key isn't one of this gateway's.", code="invalid_api_key")
        return key

    @contextmanager
    def admitted(self, key: Key | None) -> Iterator[Callable[[int], None]]:
        """For as long as a request for a text runs. Yields what counts its tokens.

        Raises ApiError with status 429 if the gateway is full, or the key has had its share.
        """
        if self._running >= self._most_requests:
            raise ApiError(
                429,
                f"This gateway answers {self._most_requests:,} requests at the same time, and has as many.",
                kind="rate_limit_error",
                code="gateway_full",
                retry_after_seconds=_FULL_RETRY_SECONDS,
            )
        if key is not None:
            self._limits.begin(key)
        self._running += 1
        try:
            yield lambda tokens: self._limits.count(key, tokens) if key is not None else None
        finally:
            self._running -= 1
            if key is not None:
                self._limits.end(key)

    def may_go_on(self, owner: str) -> bool:
        """Whether the batches of an owner may have answers now: his key is there, and has tokens left."""
        if self._keys is None:
            return owner == ANYBODY
        key = self._keys().get(owner)
        return key is not None and self._limits.has_tokens_left(key)

    def count_batch(self, owner: str, tokens: int) -> None:
        """Add the tokens of an answer in a batch."""
        key = None if self._keys is None else self._keys().get(owner)
        if key is not None:
            self._limits.count(key, tokens)
