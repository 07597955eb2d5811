"""Sessions of an attacker at the last server, spoken with p2pinfer's own wire code."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
import numpy as np

from p2pinfer.identity import Identity
from p2pinfer.swarm.records.announcement import Announcement
from p2pinfer.types import SESSION_ID_BYTES, SessionId
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.hello import Hello, Role
from p2pinfer.wire.inference_pb2_grpc import InferenceStub
from p2pinfer.wire.lanes import Lane, ready
from p2pinfer.wire.opening import KEY_BYTES, sign_opening
from p2pinfer.wire.receipt_pb2 import SignedReceipt
from p2pinfer.wire.receipts import VALID_SECONDS, Receipt, Work, sign_receipt
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import Outputs, RowChunk, pack_step
from scripts.benchmarks.hostile.attacks.ways import lane_from


@dataclass(slots=True, eq=False, kw_only=True)
class Session:
    """An open session, and what it needs to be used."""

    server: Announcement
    client: Identity
    source: str
    terms: pb.Terms
    stub: InferenceStub
    call: grpc.aio.UnaryStreamCall
    sequence: int = 0

    @property
    def ref(self) -> pb.SessionRef:
        """What names it to the server."""
        return pb.SessionRef(session_id=self.terms.session_id, control_key=self.terms.control_key)

    async def lane(self, role: Role) -> Lane:
        """The lane of its steps, or of its results. Raises OSError."""
        key = self.terms.steps_key if role is Role.STEPS else self.terms.results_key
        return await lane_from(self.source, self.server, Hello(role, self.terms.session_id, key))

    async def settle(self, work: Work, *, padding: bytes = b"") -> bool:
        """Sign for the work. True if the server has taken it. Raises AioRpcError."""
        self.sequence += 1
        now = time.time()
        signed = sign_receipt(
            Receipt(
                session_id=SessionId(self.terms.session_id),
                server=self.server.peer_id,
                client=self.client.public_key,
                model=self.terms.model,
                layers=self.server.layers,
                work=work,
                sequence=self.sequence,
                issued_at=now,
                expires_at=now + VALID_SECONDS,
            ),
            self.client,
        )
        if padding:
            signed = padded(signed, self.client, padding)
        reply = await self.stub.Settle(pb.SettleRequest(session=self.ref, receipt=signed))
        return bool(reply.server_signature)

    async def sign_forever(self) -> None:
        """Sign for whatever the server says is due, until the session ends. Raises AioRpcError."""
        while (frame := await self.call.read()) is not grpc.aio.EOF:
            if frame.WhichOneof("body") == "receipt_due":
                due = frame.receipt_due
                await self.settle(Work(due.prefill_tokens, due.decode_tokens))


def padded(signed: SignedReceipt, client: Identity, padding: bytes) -> SignedReceipt:
    """The receipt with a field that nobody knows, signed anew."""
    length, tag = len(padding), (15 << 3) | 2
    data = signed.receipt + bytes([tag, length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14])
    data += padding
    return SignedReceipt(receipt=data, client_signature=client.sign(b"p2pinfer receipt 1\0" + data))


def terms_for(server: Announcement, *, rows: int, tokens: int) -> pb.Terms:
    """The terms of a session through all layers of the last server."""
    return pb.Terms(
        session_id=os.urandom(SESSION_ID_BYTES),
        server=server.peer_id,
        model=server.model,
        numerics=server.numerics,
        first_layer=server.layers.start,
        end_layer=server.layers.end,
        rows=rows,
        max_tokens=tokens,
        issued_at=time.time(),
        steps_key=os.urandom(KEY_BYTES),
        control_key=os.urandom(KEY_BYTES),
        results_key=os.urandom(KEY_BYTES),
        wire_dtype=pb.FLOAT32,
    )


@asynccontextmanager
async def session_at(
    channel: grpc.aio.Channel,
    server: Announcement,
    *,
    source: str,
    client: Identity | None = None,
    rows: int = 1,
    tokens: int = 16,
) -> AsyncIterator[Session]:
    """Open a session, and end it with the block. Raises AioRpcError with the server's refusal."""
    terms = terms_for(server, rows=rows, tokens=tokens)
    client = client or Identity.ephemeral()
    stub = InferenceStub(channel)
    call = stub.Session(sign_opening(terms, client))
    try:
        if await call.read() is grpc.aio.EOF:
            raise EOFError("the session ended before it began")
        yield Session(server=server, client=client, source=source, terms=terms, stub=stub, call=call)
    finally:
        call.cancel()


def step(
    hidden_size: int, number: int, kind: StepKind, rows: Sequence[tuple[int, int]], tokens: int
) -> bytes:
    """The bytes of a step with `tokens` tokens of noise for each (row, position)."""
    noise = np.random.default_rng(number).standard_normal((tokens, hidden_size), dtype=np.float32)
    chunks = [RowChunk(row, position, noise) for row, position in rows]
    return pack_step(number, kind, chunks, Outputs.NONE, pb.FLOAT32)


async def result(lane: Lane) -> bytes:
    """Wait for the next result. Raises OSError, EOFError."""
    while (frame := lane.receive()) is None:
        await ready(lane, "read")
    return frame


@asynccontextmanager
async def lanes_of(session: Session) -> AsyncIterator[tuple[Lane, Lane]]:
    """The lanes of a session's steps and results. Raises OSError."""
    async with contextlib.AsyncExitStack() as lanes:
        both = []
        for role in (Role.STEPS, Role.RESULTS):
            lane = await session.lane(role)
            lanes.callback(lane.close)
            both.append(lane)
        yield both[0], both[1]
