"""Readers of what comes within and around sessions: openings, frames, receipts, refusals."""

from __future__ import annotations

import io
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import numpy as np

from p2pinfer.errors import InvalidReceiptError, ProtocolError, UsageError
from p2pinfer.identity import Identity
from p2pinfer.owner.statement.bundle import read_bundle, write_bundle
from p2pinfer.types import SessionId, Span
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.hello import Hello, Role
from p2pinfer.wire.opening import read_opening
from p2pinfer.wire.prefix_steps import Feed, Prefix
from p2pinfer.wire.reach.client_hello import read_client_hello
from p2pinfer.wire.receipt_pb2 import SignedReceipt
from p2pinfer.wire.receipts import (
    Receipt,
    Work,
    countersign,
    read_countersigned,
    read_receipt,
    sign_receipt,
)
from p2pinfer.wire.status import Refused
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import (
    Contract,
    Fork,
    Outputs,
    RowChunk,
    hop_time,
    pack_feed,
    pack_fork,
    pack_prefix,
    pack_result,
    pack_step,
    read_result,
    read_step,
)
from tests.fuzz.reader import Reader
from tests.fuzz.spoiling.spoiler import Form
from tests.wire.reach.hellos import client_hello, in_records

_CLIENT, _SERVER = Identity.ephemeral(), Identity.ephemeral()
_NOW = time.time()
_ROWS, _HIDDEN = 4, 64
_CONTRACT = {
    dtype: Contract(rows=_ROWS, max_tokens=100, hidden_size=_HIDDEN, wire_dtype=dtype)
    for dtype in (pb.FLOAT32, pb.INT8)
}


def openings() -> Reader:
    """Terms, which a stranger signs whatever they say."""

    def read(terms: bytes) -> None:
        signature = _CLIENT.sign(b"p2pinfer opening 2\0" + terms)
        opening = pb.Opening(terms=terms, client_public_key=_CLIENT.public_key, signature=signature)
        read_opening(opening, now=_NOW)

    common = {
        "session_id": bytes(16), "server": _SERVER.peer_id, "model": "ab" * 32, "numerics": "n",
        "end_layer": 4, "rows": 1, "max_tokens": 9, "steps_key": bytes(32),
        "control_key": bytes(32), "issued_at": _NOW,
    }  # fmt: skip
    last = pb.Terms(**common, results_key=bytes(32))
    first = pb.Terms(
        **common,
        downstream=pb.Downstream(record=b"record", session_id=bytes(16), steps_key=bytes(32)),
    )
    samples = [terms.SerializeToString() for terms in (last, first)]
    return Reader(samples=samples, form=Form.FIELDS, read=read, errors=(Refused,))


def steps() -> Reader:
    """Frames to a server: steps of all kinds, in both forms of hidden states."""
    rng = np.random.default_rng(1)
    samples = []
    for dtype in _CONTRACT:
        hidden = rng.standard_normal((3, _HIDDEN)).astype(np.float32)
        chunks = [RowChunk(0, 5, hidden[:1]), RowChunk(2, 7, hidden[1:])]
        samples.append(pack_step(7, StepKind.DECODE, chunks[:1], Outputs.ALL, dtype, hop_time(0.1, 0.2)))
        samples.append(pack_step(8, StepKind.PREFILL, chunks, Outputs.LAST, dtype))
        samples.append(pack_step(0, StepKind.HISTORY, chunks, Outputs.NONE, dtype))
    samples += [
        pack_fork(9, [Fork(1, 0, 3)]),
        pack_prefix(10, StepKind.KEEP, Prefix(0, 5, secrets.token_bytes(32), is_shared=True)),
        pack_prefix(11, StepKind.RECALL, Prefix(1, 9, bytes(32)), hop_time(1, 1), 0),
        pack_feed(12, Feed(0, 1, 5, 3), hop_time(1, 1)),
    ]

    def read(frame: bytes) -> None:
        refused = 0
        for contract in _CONTRACT.values():
            try:
                step = read_step(frame, contract, [5, 0, 7, 9])
            except ProtocolError:
                refused += 1
                continue
            assert step.tokens <= contract.max_step_tokens
            _ = step.work, step.hops_passed
        if refused == len(_CONTRACT):
            raise ProtocolError("neither")

    return Reader(samples=samples, form=Form.BYTES, read=read, errors=(ProtocolError,))


def results() -> Reader:
    hidden = np.ones((2, _HIDDEN), np.float32)
    samples = [pack_result(7, hidden, dtype, hop_time(0.1, 0.2) * 2, 1) for dtype in _CONTRACT]

    def read(frame: bytes) -> None:
        refused = 0
        for dtype in _CONTRACT:
            try:
                found = read_result(frame, tokens=2, hops=2, hidden_size=_HIDDEN, dtype=dtype)
            except ProtocolError:
                refused += 1
                continue
            assert found.hidden.shape == (2, _HIDDEN) and np.isfinite(found.hidden).all()
        if refused == len(_CONTRACT):
            raise ProtocolError("neither")

    return Reader(samples=samples, form=Form.BYTES, read=read, errors=(ProtocolError,))


def hellos() -> Reader:
    samples = [Hello(role, bytes(range(16)), bytes(range(32))).pack() for role in Role]
    return Reader(samples=samples, form=Form.BYTES, read=Hello.read, errors=(ProtocolError,))


def client_hellos() -> Reader:
    samples = [client_hello("p2pinfer-lane/5"), in_records(client_hello("h2"), 3, 40)]
    return Reader(
        samples=samples,
        form=Form.BYTES,
        read=read_client_hello,
        errors=(ProtocolError,),
    )


def _receipt() -> Receipt:
    return Receipt(
        session_id=SessionId(bytes(16)),
        server=_SERVER.peer_id,
        client=_CLIENT.public_key,
        model="ab" * 32,
        layers=Span(0, 10),
        work=Work(100, 20),
        sequence=3,
        issued_at=_NOW,
        expires_at=_NOW + 1000.0,
    )


def receipts() -> Reader:
    """What a client says it has signed, as it is; and with a signature that fits, whatever it says."""
    valid = countersign(sign_receipt(_receipt(), _CLIENT), _SERVER)

    def read(data: bytes) -> None:
        signature = _CLIENT.sign(b"p2pinfer receipt 1\0" + data)
        signed = SignedReceipt(receipt=data, client_signature=signature)
        read_receipt(signed)
        read_countersigned(countersign(signed, _SERVER))

    return Reader(samples=[valid.receipt], form=Form.FIELDS, read=read, errors=(InvalidReceiptError,))


def bundles() -> Reader:
    text = io.StringIO()
    write_bundle(text, [countersign(sign_receipt(_receipt(), _CLIENT), _SERVER)] * 2)

    def read(data: bytes) -> None:
        for line in read_bundle(io.BytesIO(data), "bundle"):
            if line.signed is not None:
                with suppress(InvalidReceiptError):
                    read_countersigned(line.signed)

    samples = [text.getvalue().encode()]
    return Reader(samples=samples, form=Form.BYTES, read=read, errors=(UsageError,))


READERS: Mapping[str, Callable[[], Reader]] = {
    "openings": openings,
    "steps": steps,
    "results": results,
    "hellos": hellos,
    "client-hellos": client_hellos,
    "receipts": receipts,
    "bundles": bundles,
}
