"""Whatever bytes a stranger sends, each reader of wire/ raises its one error and no other.

Strangers can sign what they like: signed messages are spoiled before they are signed.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from contextlib import suppress

import grpc
import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.errors import InvalidReceiptError, ProtocolError
from p2pinfer.identity import Identity, peer_id_from_bytes, peer_id_to_bytes, public_key_of, verify
from p2pinfer.types import Span
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.certificates import LANE_PROTOCOL, new_certificate
from p2pinfer.wire.hello import Hello, Role
from p2pinfer.wire.lane_handshake import accept_lane
from p2pinfer.wire.lanes import Lane
from p2pinfer.wire.opening import read_opening, sign_opening
from p2pinfer.wire.prefix_steps import Feed, Prefix
from p2pinfer.wire.receipt_pb2 import SignedReceipt
from p2pinfer.wire.receipts import Receipt, Work, read_countersigned, read_receipt, sign_receipt
from p2pinfer.wire.status import REASON_KEY, RETRY_KEY, Reason, Refused, refusal_of
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import (
    Contract,
    Outputs,
    RowChunk,
    hop_time,
    pack_feed,
    pack_prefix,
    pack_result,
    pack_step,
    read_result,
    read_step,
    step_id_of,
)
from tests.spoiled import spoiled
from tests.wire.reach.hellos import client_hello

CLIENT, SERVER = Identity.ephemeral(), Identity.ephemeral()
NOW = time.time()
DTYPES = (pb.FLOAT32, pb.INT8)


def terms(**outputs: object) -> pb.Terms:
    return pb.Terms(
        session_id=bytes(16),
        server=SERVER.peer_id,
        model="ab" * 32,
        numerics="fake-1",
        first_layer=2,
        end_layer=4,
        rows=3,
        max_tokens=64,
        wire_dtype=pb.INT8,
        issued_at=NOW,
        steps_key=os.urandom(32),
        control_key=os.urandom(32),
        **outputs,
    )


NEXT_HOP = pb.Downstream(record=bytes(100), session_id=bytes(16), steps_key=bytes(32))
TERMS = (
    terms(downstream=NEXT_HOP).SerializeToString(),
    terms(results_key=os.urandom(32)).SerializeToString(),
)


@given(spoiled(*TERMS))
def test_any_signed_terms_are_an_opening_or_a_refusal(data: bytes) -> None:
    domain = b"p2pinfer opening 2\0"
    opening = pb.Opening(
        terms=data, client_public_key=CLIENT.public_key, signature=CLIENT.sign(domain + data)
    )
    try:
        read = read_opening(opening, now=NOW)
    except Refused:
        return
    assert len(Span(read.first_layer, read.end_layer)) >= 1
    assert len(read.session_id) == 16 and read.rows >= 1 and read.max_tokens >= 1


@given(spoiled(sign_opening(terms(results_key=bytes(32)), CLIENT).SerializeToString()))
def test_any_bytes_are_an_opening_or_a_refusal(data: bytes) -> None:
    try:
        opening = pb.Opening.FromString(data)
    except DecodeError:  # the door answers that, see server/door/requests.py
        return
    with suppress(Refused):
        read_opening(opening, now=NOW)


@given(spoiled(Hello(Role.STEPS, bytes(16), bytes(32)).pack()))
def test_any_bytes_are_a_hello_or_an_error(data: bytes) -> None:
    try:
        hello = Hello.read(data)
    except ProtocolError:
        return
    assert hello.pack() == data


CERTIFICATE = new_certificate()
CLIENT_HELLO = client_hello(LANE_PROTOCOL)


@settings(max_examples=50)
@given(spoiled(CLIENT_HELLO))
def test_any_connection_is_a_lane_or_an_error(data: bytes) -> None:
    """Accepting raises what the door expects, also if the guest has gone before the handshake."""

    async def accept() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.sendall(data)
            theirs.close()
            with pytest.raises((OSError, ProtocolError)):
                await asyncio.wait_for(accept_lane(ours, CERTIFICATE.lanes), 30)

    asyncio.run(accept())


class Received:
    """A socket from which these bytes come, some at a time."""

    family = socket.AF_UNIX

    def __init__(self, data: bytes, some: int) -> None:
        self._data, self._some = data, some

    def recv(self, _: int) -> bytes:
        data, self._data = self._data[: self._some], self._data[self._some :]
        return data


FRAME = Hello(Role.RESULTS, bytes(16), bytes(32)).pack()
FRAMES = (len(FRAME).to_bytes(4, "little") + FRAME) * 3


@given(spoiled(FRAMES), st.integers(1, 300))
def test_any_bytes_of_a_lane_are_frames_of_bounded_size_or_an_error(data: bytes, some: int) -> None:
    lane = Lane(Received(data, some))  # type: ignore[arg-type]
    with suppress(EOFError, ProtocolError):
        while True:
            frame = lane.receive()
            assert frame is not None and len(frame) <= lane.max_frame_bytes


CONTRACT = Contract(rows=3, max_tokens=10, hidden_size=64, max_step_tokens=12)
LENGTHS = (0, 4, 10)
CHUNKS = [RowChunk(1, 4, np.ones((3, 64), np.float32)), RowChunk(0, 0, np.zeros((2, 64), np.float32))]
TIMES = hop_time(0.25, 0.5) * 2


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_any_bytes_are_a_step_or_an_error(dtype: pb.WireDtype, data: st.DataObject) -> None:
    contract = Contract(rows=3, max_tokens=10, hidden_size=64, max_step_tokens=12, wire_dtype=dtype)
    valid = [
        pack_step(7, StepKind.PREFILL, CHUNKS, Outputs.LAST, dtype, TIMES),
        pack_step(0, StepKind.HISTORY, CHUNKS[:1], Outputs.NONE, dtype),
        pack_prefix(8, StepKind.KEEP, Prefix(1, 4, bytes(32)), TIMES, lacking=1),
        pack_prefix(8, StepKind.RECALL, Prefix(0, 9, bytes(32), is_shared=True), TIMES),
        pack_feed(8, Feed(2, 3, 9, 2), TIMES),
    ]
    frame = data.draw(spoiled(*valid))
    with suppress(ProtocolError):
        step_id_of(frame)
    try:
        step = read_step(frame, contract, LENGTHS)
    except ProtocolError:
        return
    assert step.tokens <= 12 and len(step.times) % len(hop_time(0, 0)) == 0
    if step.prefix is not None:
        most = LENGTHS[step.prefix.row] if step.kind is StepKind.KEEP else 10
        assert 1 <= step.prefix.tokens <= most and len(step.prefix.name) == 32
        assert step.lacking is None or step.lacking < step.hops_passed
    if step.feed is not None:
        assert 1 <= step.feed.tokens <= 12 and step.feed.end <= LENGTHS[step.feed.row]
        assert step.feed.hop > step.hops_passed
    for chunk in step.chunks:
        assert chunk.row < 3 and chunk.position + len(chunk.hidden) <= 10
        assert np.isfinite(chunk.hidden).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tokens", [0, 3])
@given(data=st.data())
def test_any_bytes_are_a_result_of_every_hop_or_an_error(
    dtype: pb.WireDtype, tokens: int, data: st.DataObject
) -> None:
    """A result without hidden states may end within its times."""
    valid = pack_result(7, np.ones((tokens, 64), np.float32), dtype, TIMES)
    frame = data.draw(spoiled(valid) | st.integers(0, len(valid)).map(lambda end: valid[:end]))
    try:
        result = read_result(frame, tokens=tokens, hops=2, hidden_size=64, dtype=dtype)
    except ProtocolError:
        return
    assert result.hidden.shape == (tokens, 64) and len(result.hop_seconds) == 2


def test_a_result_that_ends_within_its_times_is_an_error() -> None:
    valid = pack_result(7, np.ones((0, 64), np.float32), pb.FLOAT32, TIMES)
    for end in range(len(valid)):
        with pytest.raises(ProtocolError):
            read_result(valid[:end], tokens=0, hops=2, hidden_size=64, dtype=pb.FLOAT32)


RECEIPT = Receipt(
    session_id=bytes(16),  # type: ignore[arg-type]
    server=SERVER.peer_id,
    client=CLIENT.public_key,
    model="ab" * 32,
    layers=Span(0, 10),
    work=Work(14, 10),
    sequence=2,
    issued_at=NOW,
    expires_at=NOW + 60,
)
SIGNED = sign_receipt(RECEIPT, CLIENT)


@given(spoiled(SIGNED.receipt))
def test_any_signed_bytes_are_a_receipt_or_an_error(data: bytes) -> None:
    signature = CLIENT.sign(b"p2pinfer receipt 1\0" + data)
    for read in (read_receipt, read_countersigned):
        with suppress(InvalidReceiptError):
            read(SignedReceipt(receipt=data, client_signature=signature, server_signature=signature))


@given(
    st.sampled_from([REASON_KEY, RETRY_KEY, "grpc-message"]), st.text() | st.binary(), st.none() | st.text()
)
def test_whatever_a_call_ends_with_is_a_refusal_or_none(
    key: str, value: str | bytes, details: str | None
) -> None:
    metadata = grpc.aio.Metadata((REASON_KEY, "busy"), (RETRY_KEY, "1.5"), (key, value))
    error = grpc.aio.AioRpcError(grpc.StatusCode.UNKNOWN, grpc.aio.Metadata(), metadata, details)
    refused = refusal_of(error)
    assert refused is None or (refused.reason in Reason and 0 <= refused.retry_after_seconds <= 60)


PEER_ID_BYTES = peer_id_to_bytes(CLIENT.peer_id)


@given(spoiled(PEER_ID_BYTES), spoiled(CLIENT.public_key), spoiled(CLIENT.sign(b"data")))
def test_any_bytes_are_a_peer_id_and_a_signature_or_not(peer_id: bytes, key: bytes, signature: bytes) -> None:
    with suppress(ValueError):
        assert peer_id_to_bytes(peer_id_from_bytes(peer_id)) == peer_id
    assert not verify(CLIENT.public_key, b"other data", signature)
    verify(key, b"data", signature)


@given(
    spoiled(CLIENT.peer_id.encode()).map(lambda data: data.decode("utf-8", "replace")) | st.text(max_size=80)
)
def test_any_text_is_a_peer_id_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert peer_id_from_bytes(peer_id_to_bytes(text)) and len(public_key_of(text)) == 36
