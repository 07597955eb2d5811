"""Messages that wait for a client: the newest of each kind, in order, and no others."""

from __future__ import annotations

from p2pinfer.server.sessions.outbox import Outbox
from p2pinfer.wire import inference_pb2 as pb


async def test_a_newer_frame_replaces_an_older_one_of_its_kind():
    """A client that doesn't read makes no memory grow."""
    outbox = Outbox()
    outbox.put(pb.ServerFrame(caught_up=pb.CaughtUp(tokens=1)))
    outbox.put(pb.ServerFrame(draining=pb.Draining(seconds=3)))
    for tokens in range(2, 100):
        outbox.put(pb.ServerFrame(caught_up=pb.CaughtUp(tokens=tokens)))
    assert (await outbox.take()).draining.seconds == 3
    assert (await outbox.take()).caught_up.tokens == 99
    assert outbox._frames == {}
    outbox.put(pb.ServerFrame(outputs_lost=pb.OutputsLost(detail="x")))
    assert (await outbox.take()).outputs_lost.detail == "x"
