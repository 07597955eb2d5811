"""What members and relays say to each other, and what they make of what nobody should say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.errors import ProtocolError
from p2pinfer.identity import Identity
from p2pinfer.swarm import reach_pb2
from p2pinfer.swarm.reach.relay.framing import read_message
from p2pinfer.swarm.reach.relay.messages import (
    MAX_MADDRS,
    MAX_MESSAGE_BYTES,
    Answer,
    Connect,
    Introduce,
    Introduction,
    Relayed,
    Reserve,
    Status,
    decode_answer,
    decode_candidates,
    decode_introduction,
    decode_relayed,
    decode_request,
    encode_answer,
    encode_candidates,
    encode_introduction,
    encode_relayed,
    encode_request,
)
from tests.spoiled import spoiled

ASKER, TARGET = Identity.ephemeral().peer_id, Identity.ephemeral().peer_id
MADDRS = (
    f"/ip4/192.0.2.7/udp/31330/quic-v1/p2p/{ASKER}",
    f"/ip6/2001:db8::7/tcp/31330/p2p/{ASKER}",
    f"/dns4/example.org/tcp/31330/p2p/{ASKER}",
)
REQUESTS = [
    Reserve(),
    Connect(TARGET),
    Connect(TARGET, bytes(88)),
    Introduce(TARGET, MADDRS),
    Introduce(TARGET, ()),
]
ANSWER = Answer(
    status=Status.LIMIT,
    reason="too many",
    come_back_seconds=2.5,
    maddrs=MADDRS,
    circuits_per_client=8,
    bits_per_second=5_000_000,
)
INTRODUCTION = Introduction(ASKER, MADDRS)

READERS: list[tuple[bytes, Callable[[bytes], Any]]] = [
    *((encode_request(request), lambda data: decode_request(data, ASKER)) for request in REQUESTS),
    (encode_answer(ANSWER), lambda data: decode_answer(data, ASKER)),
    (encode_relayed(Relayed(ASKER, bytes(88))), decode_relayed),
    (encode_introduction(INTRODUCTION), decode_introduction),
    (encode_candidates(MADDRS), lambda data: decode_candidates(data, ASKER)),
]


def test_what_is_written_is_read_as_it_was() -> None:
    for request in REQUESTS:
        assert decode_request(encode_request(request), ASKER) == request
    for status in Status:
        answer = Answer(status=status)
        assert decode_answer(encode_answer(answer), ASKER) == answer
    assert decode_answer(encode_answer(ANSWER), ASKER) == ANSWER
    for relayed in (Relayed(ASKER), Relayed(ASKER, b"proof")):
        assert decode_relayed(encode_relayed(relayed)) == relayed
    assert decode_introduction(encode_introduction(INTRODUCTION)) == INTRODUCTION
    assert decode_candidates(encode_candidates(MADDRS), ASKER) == MADDRS


@pytest.mark.parametrize(("valid", "read"), READERS, ids=range(len(READERS)))
def test_every_byte_flipped_cut_or_doubled_is_a_value_or_an_error(
    valid: bytes, read: Callable[[bytes], Any]
) -> None:
    for place in range(len(valid)):
        flipped = valid[:place] + bytes([valid[place] ^ 1]) + valid[place + 1 :]
        inverted = valid[:place] + bytes([valid[place] ^ 255]) + valid[place + 1 :]
        doubled = valid[: place + 1] + valid[place:]
        for data in (flipped, inverted, doubled, valid[:place], valid[:place] + valid[place + 1 :]):
            with suppress(ProtocolError):
                read(data)


@given(spoiled(*(valid for valid, _ in READERS)))
def test_any_bytes_are_a_value_or_an_error(data: bytes) -> None:
    for _, read in READERS:
        with suppress(ProtocolError):
            read(data)


@pytest.mark.parametrize(("_valid", "read"), READERS, ids=range(len(READERS)))
def test_a_message_has_a_bound(_valid: bytes, read: Callable[[bytes], Any]) -> None:
    with pytest.raises(ProtocolError, match="at most 4096 bytes"):
        read(bytes(MAX_MESSAGE_BYTES + 1))


@pytest.mark.parametrize(
    ("maddrs", "words"),
    [
        ([f"/ip4/192.0.2.7/tcp/{port}/p2p/{ASKER}" for port in range(1, MAX_MADDRS + 2)], "at most 8"),
        ([f"/ip4/192.0.2.7/tcp/1/p2p/{TARGET}"], "another peer"),
        ([f"/ip4/192.0.2.7/tcp/0/p2p/{ASKER}"], "written like"),
        ([f"/ip4/192.0.2.300/tcp/1/p2p/{ASKER}"], "can't be one"),
        ([f"/ip4/192.0.2.7/tcp/1/p2p/{TARGET}/p2p-circuit/p2p/{ASKER}"], "written like"),
        (["/ip4/192.0.2.7/tcp/1"], "written like"),
        (["x" * 1000], "characters"),
    ],
)
def test_addresses_are_the_senders_own_few_and_can_be_dialled(maddrs: list[str], words: str) -> None:
    for read in (
        lambda: decode_candidates(encode_candidates(maddrs), ASKER),
        lambda: decode_introduction(encode_introduction(Introduction(ASKER, tuple(maddrs)))),
        lambda: decode_request(encode_request(Introduce(TARGET, tuple(maddrs))), ASKER),
    ):
        with pytest.raises(ProtocolError, match=words):
            read()


def test_nobody_reaches_themselves() -> None:
    with pytest.raises(ProtocolError, match="itself"):
        decode_request(encode_request(Connect(ASKER)), ASKER)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0])
def test_a_wait_is_a_time(seconds: float) -> None:
    message = reach_pb2.RelayAnswer(status=reach_pb2.RELAY_STATUS_FULL, come_back_seconds=seconds)
    with pytest.raises(ProtocolError, match="come back"):
        decode_answer(message.SerializeToString(), ASKER)


def test_a_reason_cant_control_a_terminal() -> None:
    message = reach_pb2.RelayAnswer(status=reach_pb2.RELAY_STATUS_FULL, reason="\x1b[2Jno\n" + "x" * 500)
    reason = decode_answer(message.SerializeToString(), ASKER).reason
    assert reason.isprintable()
    assert len(reason) == 200


def test_an_answer_of_a_later_version_is_an_error_and_not_a_guess() -> None:
    message = reach_pb2.RelayAnswer()
    message.MergeFromString(b"\x08\x63")  # status 99
    with pytest.raises(ProtocolError, match="doesn't know"):
        decode_answer(message.SerializeToString(), ASKER)


@given(spoiled(b"\0\0\0\3abc\0\0\0\0", b"\0\0\x10\0" + bytes(4096)))
def test_any_stream_is_messages_or_an_error(data: bytes) -> None:
    async def read_all() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        with suppress(ProtocolError, EOFError):
            while True:
                assert len(await read_message(reader)) <= MAX_MESSAGE_BYTES

    asyncio.run(read_all())


@given(st.binary(max_size=38))
def test_a_target_is_a_peer(raw: bytes) -> None:
    request = reach_pb2.RelayRequest(connect=reach_pb2.Connect(target=raw))
    with pytest.raises(ProtocolError, match="peer"):
        decode_request(request.SerializeToString(), ASKER)
