"""The client's signature under what servers have done for it, and the receipts that they signed as well."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine
from typing import Any

from p2pinfer.errors import ProtocolError
from p2pinfer.identity import Identity
from p2pinfer.types import PeerId, SessionId
from p2pinfer.wire.receipt_pb2 import SignedReceipt
from p2pinfer.wire.receipts import Receipt, is_countersigned, sign_receipt

_MAX_RECEIPTS = 10_000


class Payer:
    """Owes under one identity. For the event loop, but for `receipts`."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self._receipts: OrderedDict[tuple[PeerId, SessionId], SignedReceipt] = OrderedDict()
        self._settling: set[asyncio.Task[None]] = set()

    @property
    def receipts(self) -> list[SignedReceipt]:
        """The newest one of each session at each server, of the last ten thousand. Any thread may ask."""
        return list(self._receipts.values())

    def sign(self, receipt: Receipt) -> SignedReceipt:
        """Promise to pay for this."""
        return sign_receipt(receipt, self.identity)

    def keep(self, receipt: Receipt, signed: SignedReceipt, server_signature: bytes) -> None:
        """Keep a receipt that its server has taken. Raises ProtocolError if that hasn't signed it."""
        countersigned = SignedReceipt(
            receipt=signed.receipt,
            client_signature=signed.client_signature,
            server_signature=server_signature,
        )
        if not is_countersigned(countersigned, receipt.server):
            raise ProtocolError("a server has put a wrong signature under a receipt")
        key = (receipt.server, receipt.session_id)
        self._receipts[key] = countersigned
        self._receipts.move_to_end(key)
        if len(self._receipts) > _MAX_RECEIPTS:
            self._receipts.popitem(last=False)

    def settle_soon(self, settling: Coroutine[Any, Any, None]) -> None:
        """Have something settled that nobody has to wait for."""
        task = asyncio.get_running_loop().create_task(settling)
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def close(self, seconds: float = 2.0) -> None:
        """Wait for what is being settled, but not for longer than so many seconds."""
        settling = set(self._settling)
        if settling:
            await asyncio.wait(settling, timeout=seconds)
        for task in settling:
            task.cancel()
        await asyncio.gather(*settling, return_exceptions=True)
