"""Opening a session: the client signs the terms, and exactly one server accepts them, once.

The answer says how the server reaches the next hop, and a later frame if that changes.
"""

from __future__ import annotations

import math

from google.protobuf.message import DecodeError

from p2pinfer.identity import Identity, verify
from p2pinfer.types import SESSION_ID_BYTES, Way
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.status import Reason, Refused

KEY_BYTES = 32
"""The length of the keys in an opening, which open lanes and control the session."""

MAX_CLOCK_SKEW_SECONDS = 60.0
_DOMAIN = b"p2pinfer opening 2\0"

_WAYS = {
    Way.DIRECT: pb.WAY_DIRECT,
    Way.MAPPED: pb.WAY_MAPPED,
    Way.TUNNEL: pb.WAY_TUNNEL,
    Way.PUNCHED: pb.WAY_PUNCHED,
    Way.RELAYED: pb.WAY_RELAYED,
}
_WAYS_BY_NUMBER: dict[int, Way] = {number: way for way, number in _WAYS.items()}


def sign_opening(terms: pb.Terms, client: Identity) -> pb.Opening:
    """Serialize the terms and sign them as `client`."""
    signed = terms.SerializeToString()
    signature = client.sign(_DOMAIN + signed)
    return pb.Opening(terms=signed, client_public_key=client.public_key, signature=signature)


def read_opening(opening: pb.Opening, *, now: float) -> pb.Terms:
    """The terms of an opening; `now` is Unix seconds.

    Raises Refused, with the reason for the client, if the signature is wrong or the terms are malformed.
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
    """Raise Refused unless the next hop's session id and key have the right lengths."""
    if len(downstream.session_id) != SESSION_ID_BYTES or len(downstream.steps_key) != KEY_BYTES:
        raise Refused(
            Reason.BAD_OPENING,
            f"a next hop is named by a session id of {SESSION_ID_BYTES} bytes and a key of {KEY_BYTES}",
        )


def way_number(way: Way | None) -> pb.Way:
    """How a way is written in messages."""
    return pb.WAY_UNKNOWN if way is None else _WAYS[way]


def way_said(number: int) -> Way | None:
    """The way that a peer has named; None for one that isn't known here."""
    return _WAYS_BY_NUMBER.get(number)
