"""The messages between members and relays, as in reach.proto. Pure: bytes in, checked values out.

Readers raise ProtocolError, and nothing else, for bytes that no member should send.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from p2pinfer.errors import ProtocolError
from p2pinfer.identity import peer_id_from_bytes, peer_id_to_bytes
from p2pinfer.plain_text import printable
from p2pinfer.swarm import reach_pb2
from p2pinfer.swarm.records.bounds import check_maddr
from p2pinfer.types import PeerId

MAX_MESSAGE_BYTES = 4096
MAX_MADDRS = 8
MAX_PROOF_BYTES = 128
_LONGEST_WAIT_SECONDS = 31 * 86400.0
_MOST_REASON_CHARACTERS = 200

_M = TypeVar("_M", bound=Message)


class Status(enum.IntEnum):
    """How a relay answers."""

    OK = reach_pb2.RELAY_STATUS_OK
    NOT_HERE = reach_pb2.RELAY_STATUS_NOT_HERE
    FULL = reach_pb2.RELAY_STATUS_FULL
    LIMIT = reach_pb2.RELAY_STATUS_LIMIT
    NO_RELAY = reach_pb2.RELAY_STATUS_NO_RELAY
    BAD_REQUEST = reach_pb2.RELAY_STATUS_BAD_REQUEST
    FAILED = reach_pb2.RELAY_STATUS_FAILED


@dataclass(frozen=True, slots=True)
class Reserve:
    """Asks to be where others find the asker."""


@dataclass(frozen=True, slots=True)
class Connect:
    """Asks for a stream to a peer that holds a reservation."""

    target: PeerId
    proof: bytes = b""  # for the target, see proof.py


@dataclass(frozen=True, slots=True)
class Introduce:
    """Asks that a peer that holds a reservation dials the asker, which dials the peer at the same time."""

    target: PeerId
    maddrs: tuple[str, ...]  # full ones of the asker


Request = Reserve | Connect | Introduce


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a relay says to a request."""

    status: Status
    reason: str = ""
    come_back_seconds: float = 0.0  # 0: unknown
    maddrs: tuple[str, ...] = ()
    circuits_per_client: int = 0
    bits_per_second: int = 0  # 0: unlimited


@dataclass(frozen=True, slots=True)
class Relayed:
    """Begins a stream that a relay passes on."""

    asker: PeerId  # as the relay says
    proof: bytes = b""  # that it does, see proof.py


@dataclass(frozen=True, slots=True)
class Introduction:
    """Tells a peer who wants to meet it, and where to dial."""

    asker: PeerId
    maddrs: tuple[str, ...]  # full ones of the asker


def encode_request(request: Request) -> bytes:
    """The bytes of a request."""
    match request:
        case Reserve():
            message = reach_pb2.RelayRequest(reserve=reach_pb2.Reserve())
        case Connect(target=target, proof=proof):
            connect = reach_pb2.Connect(target=peer_id_to_bytes(target), proof=proof)
            message = reach_pb2.RelayRequest(connect=connect)
        case Introduce(target=target, maddrs=maddrs):
            introduce = reach_pb2.Introduce(target=peer_id_to_bytes(target), maddrs=maddrs)
            message = reach_pb2.RelayRequest(introduce=introduce)
    return message.SerializeToString()


def decode_request(data: bytes, asker: PeerId) -> Request:
    """Read the request of `asker`. Raises ProtocolError."""
    message = parse(reach_pb2.RelayRequest(), data)
    match message.WhichOneof("ask"):
        case "reserve":
            return Reserve()
        case "connect":
            return Connect(_target(message.connect.target, asker), _proof(message.connect.proof))
        case "introduce":
            target = _target(message.introduce.target, asker)
            return Introduce(target, _maddrs(message.introduce.maddrs, asker))
        case _:
            raise ProtocolError("a request to a relay that this version doesn't know")


def encode_answer(answer: Answer) -> bytes:
    """The bytes of an answer."""
    return reach_pb2.RelayAnswer(
        status=f"RELAY_STATUS_{answer.status.name}",
        reason=printable(answer.reason, _MOST_REASON_CHARACTERS),
        come_back_seconds=answer.come_back_seconds,
        maddrs=answer.maddrs,
        circuits_per_client=answer.circuits_per_client,
        bits_per_second=answer.bits_per_second,
    ).SerializeToString()


def decode_answer(data: bytes, owner: PeerId) -> Answer:
    """Read an answer whose multiaddresses are those of `owner`. Raises ProtocolError."""
    message = parse(reach_pb2.RelayAnswer(), data)
    try:
        status = Status(message.status)
    except ValueError as error:
        raise ProtocolError("an answer of a relay that this version doesn't know") from error
    seconds = message.come_back_seconds
    if not math.isfinite(seconds) or seconds < 0:
        raise ProtocolError(f"a relay asks to come back in {seconds} s")
    return Answer(
        status=status,
        reason=printable(message.reason, _MOST_REASON_CHARACTERS),
        come_back_seconds=min(seconds, _LONGEST_WAIT_SECONDS),
        maddrs=_maddrs(message.maddrs, owner),
        circuits_per_client=message.circuits_per_client,
        bits_per_second=message.bits_per_second,
    )


def encode_relayed(relayed: Relayed) -> bytes:
    """The bytes with which a relayed stream begins at its target."""
    message = reach_pb2.Relayed(asker=peer_id_to_bytes(relayed.asker), proof=relayed.proof)
    return message.SerializeToString()


def decode_relayed(data: bytes) -> Relayed:
    """Read who asked for a relayed stream. Raises ProtocolError."""
    message = parse(reach_pb2.Relayed(), data)
    return Relayed(_peer(message.asker), _proof(message.proof))


def encode_introduction(introduction: Introduction) -> bytes:
    """The bytes of an introduction."""
    asker = peer_id_to_bytes(introduction.asker)
    return reach_pb2.Introduction(asker=asker, maddrs=introduction.maddrs).SerializeToString()


def decode_introduction(data: bytes) -> Introduction:
    """Read an introduction. Raises ProtocolError."""
    message = parse(reach_pb2.Introduction(), data)
    asker = _peer(message.asker)
    return Introduction(asker, _maddrs(message.maddrs, asker))


def encode_candidates(maddrs: Iterable[str]) -> bytes:
    """The bytes of a peer's own multiaddresses."""
    return reach_pb2.Candidates(maddrs=maddrs).SerializeToString()


def decode_candidates(data: bytes, owner: PeerId) -> tuple[str, ...]:
    """Read the multiaddresses of `owner`. Raises ProtocolError."""
    return _maddrs(parse(reach_pb2.Candidates(), data).maddrs, owner)


def parse(message: _M, data: bytes) -> _M:
    """Read a message of at most MAX_MESSAGE_BYTES into `message`, and return it. Raises ProtocolError."""
    if len(data) > MAX_MESSAGE_BYTES:
        raise ProtocolError(f"a message has at most {MAX_MESSAGE_BYTES} bytes, not {len(data)}")
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise ProtocolError("bytes that are no message") from error
    return message


def _peer(raw: bytes) -> PeerId:
    try:
        return peer_id_from_bytes(raw)
    except ValueError as error:
        raise ProtocolError("a peer id that no peer has") from error


def _proof(raw: bytes) -> bytes:
    if len(raw) > MAX_PROOF_BYTES:
        raise ProtocolError(f"a proof of {len(raw)} bytes: at most {MAX_PROOF_BYTES} are passed on")
    return raw


def _target(raw: bytes, asker: PeerId) -> PeerId:
    target = _peer(raw)
    if target == asker:
        raise ProtocolError("a peer that wants to reach itself")
    return target


def _maddrs(maddrs: Sequence[str], owner: PeerId) -> tuple[str, ...]:
    if len(maddrs) > MAX_MADDRS:
        raise ProtocolError(f"at most {MAX_MADDRS} multiaddresses, not {len(maddrs)}")
    for maddr in maddrs:
        if check_maddr("maddrs", maddr) != owner:
            raise ProtocolError("a multiaddress of another peer")
    return tuple(dict.fromkeys(maddrs))
