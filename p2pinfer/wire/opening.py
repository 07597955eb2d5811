"""Opening a session: terms that the client signs, and that one server accepts once."""

from __future__ import annotations

import math
from collections.abc import Callable

from google.protobuf.message import DecodeError

from p2pinfer.types import SESSION_ID_BYTES
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.status import Reason, Refused

KEY_BYTES = 32
"""Of the keys that lanes are opened with."""

MAX_CLOCK_SKEW_SECONDS = 60.0
_DOMAIN = b"p2pinfer opening 2\0"


def sign_opening(terms: pb.Terms, public_key: bytes, sign: Callable[[bytes], bytes]) -> pb.Opening:
    """Put the client's name to the terms."""
    signed = terms.SerializeToString()
    return pb.Opening(terms=signed, client_public_key=public_key, signature=sign(_DOMAIN + signed))


def read_opening(
    opening: pb.Opening, *, now: float, verify: Callable[[bytes, bytes, bytes], bool]
) -> pb.Terms:
    """Return the terms if the signature holds and they are well-formed; else raise Refused.

    `verify(public_key, data, signature)` says whether a signature is genuine; `now` is Unix seconds.
    """
    if not verify(opening.client_public_key, _DOMAIN + opening.terms, opening.signature):
        raise Refused(Reason.BAD_OPENING, "the opening is not signed by the key that it names")
    terms = pb.Terms()
    try:
        terms.ParseFromString(opening.terms)
    except DecodeError as error:
        raise Refused(Reason.BAD_OPENING, "the opening's terms can't be parsed") from error
    if not (math.isfinite(terms.issued_at) and abs(now - terms.issued_at) <= MAX_CLOCK_SKEW_SECONDS):
        raise Refused(
            Reason.BAD_OPENING,
            f"the opening was issued more than {MAX_CLOCK_SKEW_SECONDS:.0f} s from this server's time: "
            "set the clock and try again",
        )
    if len(terms.session_id) != SESSION_ID_BYTES:
        raise Refused(Reason.BAD_OPENING, f"a session id has {SESSION_ID_BYTES} bytes")
    keys = [terms.steps_key, terms.control_key]
    match terms.WhichOneof("outputs"):
        case "downstream":
            check_downstream(terms.downstream)
        case "results_key":
            keys.append(terms.results_key)
        case _:
            raise Refused(Reason.BAD_OPENING, "the opening names neither a next hop nor a key for results")
    if any(len(key) != KEY_BYTES for key in keys):
        raise Refused(Reason.BAD_OPENING, f"keys have {KEY_BYTES} bytes")
    if terms.rows < 1 or terms.max_tokens < 1 or terms.first_layer >= terms.end_layer:
        raise Refused(Reason.BAD_OPENING, "a session needs at least one row, one token and one layer")
    if terms.wire_dtype not in pb.WireDtype.values():
        raise Refused(Reason.BAD_OPENING, f"hidden states of dtype {terms.wire_dtype} are not known here")
    return terms


def check_downstream(downstream: pb.Downstream) -> None:
    """Raise Refused if the next hop's session and key can't be ones."""
    if len(downstream.session_id) != SESSION_ID_BYTES or len(downstream.steps_key) != KEY_BYTES:
        raise Refused(
            Reason.BAD_OPENING,
            f"a next hop is named by a session id of {SESSION_ID_BYTES} bytes and a key of {KEY_BYTES}",
        )
