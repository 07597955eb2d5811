"""Sessions whose next hop is a door that the attacker wants to know about."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections import Counter

import grpc

from p2pinfer.identity import Identity
from p2pinfer.swarm.records.announcement import Announcement, ServerState, encode
from p2pinfer.types import Span
from p2pinfer.wire.certificates import new_certificate
from p2pinfer.wire.inference_pb2_grpc import InferenceStub
from p2pinfer.wire.opening import KEY_BYTES, sign_opening
from scripts.benchmarks.hostile.attacks.scene import Scene, for_ever
from scripts.benchmarks.hostile.attacks.sessions import terms_for
from scripts.benchmarks.hostile.attacks.ways import channels_from
from scripts.benchmarks.identities.paid import paid_identities

_RECORD_SECONDS = 60.0


async def port_scan(scene: Scene) -> None:
    """Half of the doors are ours and count who knocks; the others are shut. Answers and times are noted."""
    first = scene.servers[0]
    certificate = new_certificate().der
    seconds: dict[str, list[float]] = {"open": [], "shut": []}
    words: dict[str, Counter[str]] = {"open": Counter(), "shut": Counter()}
    scene.tally.notes |= {"seconds": seconds, "words": words}
    doors = scene.number("doors")
    with contextlib.ExitStack() as listening, paid_identities(1) as (unknown,):
        open_ports, shut_ports = [], []
        for number in range(doors):
            listener = listening.enter_context(socket.create_server(("127.0.0.1", 0)))
            port = listener.getsockname()[1]
            if number % 2:
                shut_ports.append(port)
                listener.close()
            else:
                open_ports.append(port)
                listener.setblocking(False)
                asyncio.get_running_loop().add_reader(listener, _knocked, scene, listener)

        async with channels_from(scene.sources, first) as channels:

            async def work(index: int) -> None:
                kind = "open" if index % 2 else "shut"
                ports = open_ports if index % 2 else shut_ports
                port = ports[index // 2 % len(ports)]
                terms = terms_for(first, rows=1, tokens=16)
                terms.downstream.session_id = os.urandom(16)
                terms.downstream.steps_key = os.urandom(KEY_BYTES)
                terms.downstream.record = _record(scene, unknown, f"127.0.0.1:{port}", certificate)
                began = time.monotonic()
                try:
                    call = InferenceStub(channels[scene.source(index)]).Session(
                        sign_opening(terms, Identity.ephemeral())
                    )
                    await call.read()
                except Exception as error:
                    reason = str(error.details() if isinstance(error, grpc.aio.AioRpcError) else error)
                    seconds[kind].append(time.monotonic() - began)
                    words[kind][reason] += 1
                    raise

            await for_ever(scene, scene.number("guests"), work, rate=scene.numbers["rate"])


def _knocked(scene: Scene, listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock, _ = listener.accept()
        scene.tally.counts["doors knocked at"] += 1
        sock.close()


def _record(scene: Scene, identity: Identity, endpoint: str, certificate: bytes) -> bytes:
    """The signed record of a peer that nobody knows, with this address."""
    first = scene.servers[0]
    now = time.time()
    announcement = Announcement(
        peer_id=identity.peer_id,
        model=scene.model,
        model_name=first.model_name,
        num_layers=first.num_layers,
        layers=Span(first.layers.end, first.num_layers),
        state=ServerState.SERVING,
        numerics=first.numerics,
        endpoints=(endpoint,),
        certificate=certificate,
        announced_at=now,
        expires_at=now + _RECORD_SECONDS,
    )
    return encode(announcement, identity)
