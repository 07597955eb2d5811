"""What the owner of this machine allows to be given, as the service asks for it."""

from __future__ import annotations

from typing import Protocol

from p2pinfer.wire.status import Refused


class Gate(Protocol):
    """Decides whether, and how fast, files are given to others."""

    def may_begin(self) -> Refused | None:
        """None: go on. Otherwise the refusal, with the time to wait."""
        ...

    async def wait_to_send(self, size_bytes: int) -> None:
        """Wait until this many bytes may be sent. Raises Refused if they may not be sent at all."""
        ...

    def sent(self, size_bytes: int) -> None:
        """These bytes were sent."""
        ...

    def not_sent(self, size_bytes: int) -> None:
        """These bytes, for which somebody had waited, were not sent after all."""
        ...
