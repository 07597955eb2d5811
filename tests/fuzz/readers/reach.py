"""Readers of tunnels, relays and looks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from p2pinfer.errors import ProtocolError
from p2pinfer.identity import Identity
from p2pinfer.swarm.look_pb2 import LookReply, LookRequest
from p2pinfer.swarm.reach.relay import messages
from p2pinfer.swarm.reach.relay.proof import Proofs, prove
from p2pinfer.swarm.tunnel.messages import Kind, Parser, encode
from tests.fuzz.reader import Reader
from tests.fuzz.spoiling.spoiler import Form

_ME, _PEER, _RELAY = Identity.ephemeral(), Identity.ephemeral(), Identity.ephemeral()
_MADDRS = (f"/ip4/192.0.2.7/tcp/31330/p2p/{_PEER.peer_id}",)


def tunnel_messages() -> Reader:
    """They come on a stream in pieces of any length."""
    samples = [
        encode(Kind.OPEN, 0, bytes(range(16))) + encode(Kind.DATA, 0, b"some bytes") + encode(Kind.END, 10),
        encode(Kind.RESUME, 7, bytes(16)) + encode(Kind.READY, 3) + encode(Kind.ACK, 2**40),
        encode(Kind.REFUSED, 2) + encode(Kind.CLOSE),
    ]

    def read(data: bytes) -> None:
        parser = Parser()
        piece = 1 + len(data) % 31
        for start in range(0, len(data), piece):
            for message in parser.feed(data[start : start + piece]):
                assert len(message.body) <= len(data)

    return Reader(samples=samples, form=Form.BYTES, read=read, errors=(ProtocolError,))


def relay_messages() -> Reader:
    """Each reader gets the messages of all kinds."""
    proof = prove(_PEER.sign, _RELAY.peer_id, _ME.peer_id, time.time())
    requests = (
        messages.Reserve(),
        messages.Connect(_ME.peer_id, proof),
        messages.Introduce(_ME.peer_id, _MADDRS),
    )
    answer = messages.Answer(
        status=messages.Status.LIMIT,
        reason="enough",
        come_back_seconds=7.0,
        maddrs=_MADDRS,
        circuits_per_client=2,
        bits_per_second=10**6,
    )
    samples = [
        *map(messages.encode_request, requests),
        messages.encode_answer(answer),
        messages.encode_relayed(messages.Relayed(_PEER.peer_id, proof)),
        messages.encode_introduction(messages.Introduction(_PEER.peer_id, _MADDRS)),
        messages.encode_candidates(_MADDRS),
        LookRequest(ports=[1, 2]).SerializeToString(),
        LookReply(observed=list(_MADDRS), own=list(_MADDRS)).SerializeToString(),
    ]
    readers: tuple[Callable[[bytes], object], ...] = (
        lambda data: messages.decode_request(data, _PEER.peer_id),
        lambda data: messages.decode_answer(data, _PEER.peer_id),
        messages.decode_relayed,
        messages.decode_introduction,
        lambda data: messages.decode_candidates(data, _PEER.peer_id),
        lambda data: messages.parse(LookRequest(), data),
        lambda data: messages.parse(LookReply(), data),
    )

    def read(data: bytes) -> None:
        refused = 0
        for one in readers:
            try:
                one(data)
            except ProtocolError:
                refused += 1
        if refused == len(readers):
            raise ProtocolError("none")

    return Reader(samples=samples, form=Form.FIELDS, read=read, errors=(ProtocolError,))


def relay_proofs() -> Reader:
    now = time.time()
    proof = prove(_PEER.sign, _RELAY.peer_id, _ME.peer_id, now)

    def read(data: bytes) -> None:
        Proofs(_ME.peer_id).check(data, _PEER.peer_id, _RELAY.peer_id, now)

    return Reader(samples=[proof], form=Form.BYTES, read=read, errors=(ProtocolError,))


READERS: Mapping[str, Callable[[], Reader]] = {
    "tunnels": tunnel_messages,
    "relays": relay_messages,
    "relay-proofs": relay_proofs,
}
