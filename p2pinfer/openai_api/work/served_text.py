"""What the gateway asks of a text: `client.texts.text.Text` is one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from p2pinfer.client.texts.request import RouteView, TextEnd, TextPart


class ServedText(AbstractAsyncContextManager["ServedText"], Protocol):
    """One answer while it is made."""

    end: TextEnd | None
    """How it ended, after the iteration."""

    @property
    def cached_tokens(self) -> int:
        """Tokens of the prompt that the servers had already, from the first part on."""

    def route(self) -> RouteView:
        """The servers that compute it now."""

    def __aiter__(self) -> AsyncIterator[TextPart]:
        """Its parts. Raises P2PInferError."""
