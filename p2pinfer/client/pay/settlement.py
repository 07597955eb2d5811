"""Settling one session with one server: a signed receipt for the work that the client believes."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field

from p2pinfer.client.pay.payer import Payer
from p2pinfer.client.pay.tally import Tally
from p2pinfer.client.reach.carrier import Carrier
from p2pinfer.client.route.hop_server import HopServer
from p2pinfer.errors import HopFailedError, ProtocolError, RefusedError
from p2pinfer.types import SessionId
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.receipts import VALID_SECONDS, Receipt, Work

logger = logging.getLogger(__name__)

_SETTLE_SECONDS = 5.0


@dataclass(slots=True, eq=False)
class Settlement:
    """Receipts for one session at one server, one at a time. For the event loop."""

    payer: Payer
    carrier: Carrier
    server: HopServer
    session: pb.SessionRef
    tally: Tally
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    def settle_all_soon(self) -> None:
        """Sign, in the background, for all the work that was asked for."""
        self.payer.settle_soon(self._settle(self.tally.most))

    def settle_soon(self, due: pb.ReceiptDue) -> None:
        """Sign, in the background, for the work that the server claims, as far as the tally confirms it."""
        self.payer.settle_soon(self._settle(_work(due)))

    async def _settle(self, claimed: Work) -> None:
        """Sign for `claimed`, or for less if the server has done less.

        If the server is gone, the work stays unsigned. That is the server's loss, and its own limit for
        unsigned work bounds it.
        """
        try:
            async with asyncio.timeout(_SETTLE_SECONDS), self._one_at_a_time:
                done = await self._offer(claimed)
                if done is not None:
                    await self._offer(done)
        except (HopFailedError, RefusedError, ProtocolError, TimeoutError) as error:
            logger.debug("not settled with %s: %s", self.server.hop.peer_id, error)

    async def _offer(self, claimed: Work) -> Work | None:
        """Send a receipt for `claimed`, as far as the tally confirms it.

        Returns the work that the server has done, if that is less and it therefore took no receipt.
        """
        work = self.tally.to_sign(claimed)
        if work is None:
            return None
        now = time.time()
        receipt = Receipt(
            session_id=SessionId(self.session.session_id),
            server=self.server.hop.peer_id,
            client=self.payer.identity.public_key,
            model=self.server.record.model,
            layers=self.server.hop.layers,
            work=work,
            sequence=self.tally.next_sequence(),
            issued_at=now,
            expires_at=now + VALID_SECONDS,
        )
        signed = self.payer.sign(receipt)
        request = pb.SettleRequest(session=self.session, receipt=signed)
        reply = await self.carrier.settle(self.server.address, request)
        if not reply.server_signature:
            return _work(reply.done)
        self.tally.signed = work
        self.payer.keep(receipt, signed, reply.server_signature)
        return None


def _work(due: pb.ReceiptDue) -> Work:
    return Work(due.prefill_tokens, due.decode_tokens)
