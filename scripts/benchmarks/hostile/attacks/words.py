"""A server whose words are meant for the terminal of whoever reads them."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from typing import Any

import grpc

from p2pinfer.identity import Identity
from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.tasks import all_of
from p2pinfer.types import LayerSeconds, Span
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.certificates import new_certificate
from p2pinfer.wire.inference_pb2_grpc import InferenceServicer, add_InferenceServicer_to_server
from p2pinfer.wire.status import REASON_KEY
from scripts.benchmarks.hostile.attacks.scene import Scene
from scripts.benchmarks.shared.child import module_command, module_environment

_VICTIM = "scripts.benchmarks.hostile.victim"
_EVIL = "\x1b]0;owned\x07\x1b[2J\x1b[31mroot# \r\n2026-01-01 all is well\u202e\x9b1m\x00"
_KINDS = 3  # of answers to an opening
_RECORD_SECONDS = 300.0
_LONGEST_HEADER = 5_000  # what gRPC takes as the words of a status, once they are encoded


class _Boaster(InferenceServicer):
    """Takes or refuses sessions, with many words."""

    def __init__(self, peer_id: str, letters: int) -> None:
        self._peer_id = peer_id
        self._words = _EVIL + "A" * letters
        self._calls = itertools.count()

    async def Ping(self, request: pb.PingRequest, context: Any) -> pb.PingReply:  # noqa: N802  as gRPC
        return pb.PingReply(server=self._peer_id, free_cache_tokens=2**30)

    async def Session(self, opening: pb.Opening, context: Any) -> None:  # noqa: N802
        number = next(self._calls) % _KINDS
        if number == 0:
            await context.write(pb.ServerFrame(opened=pb.Opened(max_step_tokens=512, idle_seconds=60)))
            await context.write(pb.ServerFrame(outputs_lost=pb.OutputsLost(detail=self._words)))
            await asyncio.sleep(2)
        reason = "bad-opening" if number == 1 else "failed"
        code = grpc.StatusCode.UNAUTHENTICATED if number == 1 else grpc.StatusCode.INTERNAL
        await context.abort(code, self._words[:_LONGEST_HEADER], ((REASON_KEY, reason),))


async def words(scene: Scene) -> None:
    """A few clients at a time meet only this server; what reaches their standard errors is looked at.

    It stands in a swarm of its own, so that no honest server helps.
    """
    identity, certificate = Identity.ephemeral(), new_certificate()
    server = grpc.aio.server()
    add_InferenceServicer_to_server(_Boaster(identity.peer_id, scene.number("letters")), server)
    port = server.add_secure_port("127.0.0.1:0", certificate.credentials)
    await server.start()
    try:
        async with Swarm.join([], identity, listen_maddrs=("/ip4/127.0.0.1/tcp/0",)) as swarm:
            now, honest = time.time(), scene.last
            await swarm.announce(
                Announcement(
                    peer_id=identity.peer_id,
                    model=scene.model,
                    model_name=honest.model_name,
                    num_layers=honest.num_layers,
                    layers=Span(0, honest.num_layers),
                    state=ServerState.SERVING,
                    numerics=honest.numerics,
                    endpoints=(f"127.0.0.1:{port}",),
                    certificate=certificate.der,
                    decode=LayerSeconds(1e-4),
                    free_cache_tokens=2**30,
                    announced_at=now,
                    expires_at=now + _RECORD_SECONDS,
                )
            )
            scene.begun.set()
            while True:
                await all_of(*(_one_victim(scene, swarm.addresses) for _ in range(_KINDS)))
    finally:
        await server.stop(None)


async def _one_victim(scene: Scene, initial_peers: tuple[str, ...]) -> None:
    parameters = json.dumps({"store": scene.store, "initial_peers": initial_peers})
    victim = await asyncio.create_subprocess_exec(
        *module_command(_VICTIM, parameters),
        env=module_environment(GRPC_VERBOSITY="NONE"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert victim.stderr is not None
        said = (await victim.stderr.read()).decode("utf-8", "replace")
    finally:
        if victim.returncode is None:
            victim.kill()
        await victim.wait()
    lines = said.split("\n")
    scene.tally.counts["attempts"] += 1
    scene.tally.counts["characters that no terminal should get"] += sum(
        not (character.isprintable() or character == "\t") for line in lines for character in line
    )
    notes = scene.tally.notes
    notes["longest line"] = max(notes.get("longest line", 0), max(map(len, lines)))
    notes["last words"] = ascii(said[-400:])
