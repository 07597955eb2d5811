"""The client's identity as a payer: it signs receipts for servers' work and keeps the countersigned ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Coroutine
from typing import Any

from p2pinfer.errors import ProtocolError
from p2pinfer.identity import Identity
from p2pinfer.tasks import Nursery
from p2pinfer.types import PeerId, SessionId
from p2pinfer.wire.receipt_pb2 import SignedReceipt
from p2pinfer.wire.receipts import Receipt, is_countersigned, sign_receipt

_MAX_RECEIPTS = 10_000
_LAST_RECEIPTS_SECONDS = 2.0


class Payer:
    """Signs under one identity. For the event loop; only `receipts` may be read from any thread."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self._receipts: OrderedDict[tuple[PeerId, SessionId], SignedReceipt] = OrderedDict()
        self._settling = Nursery()

    @property
    def receipts(self) -> list[SignedReceipt]:
        """The newest receipt of each session at each server, of the last ten thousand sessions."""
        return list(self._receipts.values())

    def sign(self, receipt: Receipt) -> SignedReceipt:
        """Promise to pay for the work in this receipt."""
        return sign_receipt(receipt, self.identity)

    def keep(self, receipt: Receipt, signed: SignedReceipt, server_signature: bytes) -> None:
        """Keep a receipt that its server has taken. Raises ProtocolError if the countersignature is wrong."""
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
        """Run this in the background; `close` waits for it."""
        self._settling.start(settling)

    async def close(self) -> None:
        """Give the receipts that are under way a moment to arrive, then drop them."""
        await self._settling.close(grace_seconds=_LAST_RECEIPTS_SECONDS)
