"""What a client needs of the network: calls to hops, lanes, and a way for a thread to wait for them.

Sessions, chains and routes are built on these protocols alone. Production implements them with gRPC and TLS
(grpc_carrier.py), the tests also with a simulator.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from p2pinfer.client.reach.pong import Pong
from p2pinfer.types import Address, PeerId, Way
from p2pinfer.wire import inference_pb2 as pb


class ClientLane(Protocol):
    """The client's end of a lane; wire/lanes.py has the real one."""

    max_frame_bytes: int

    def send(self, frame: bytes) -> bool:
        """Send a frame. Returns True if all of it is sent; else call `flush` later. Raises OSError."""

    def flush(self) -> bool:
        """Send what the network takes now. Returns True if nothing is left. Raises OSError."""

    def receive(self) -> bytes | None:
        """Return the next frame; None if none has come. Raises OSError, EOFError, ProtocolError."""

    def close(self) -> None:
        """Close the lane. Closing twice is harmless."""


class HopCall(Protocol):
    """The call of an open session at one hop."""

    async def frame(self) -> pb.ServerFrame:
        """Wait for the hop's next message. Raises HopFailedError or RefusedError when the call has ended."""

    async def close(self) -> None:
        """End the call, and with it the session."""


class Waiter(Protocol):
    """Lets the generating thread wait for its lanes and for news from the event loop."""

    def wait(self, results: ClientLane, unsent: ClientLane | None, seconds: float) -> None:
        """Return when `results` can be read, `unsent` takes more, `wake` was called, or time is up."""

    def wake(self) -> None:
        """End the present wait, or the next one. Any thread may call it."""

    def close(self) -> None:
        """Free the waiter's resources."""


class Carrier(Protocol):
    """Reaches servers. All but `waiter` is for the network's event loop.

    Every call raises HopFailedError if the server can't be reached or the connection breaks, and
    RefusedError if the server refuses. Only `open` and `lane` time out, a few seconds after they begin to
    connect.
    """

    def open(self, address: Address, opening: pb.Opening) -> AbstractAsyncContextManager[HopCall]:
        """Open a session; the first frame says whether the server takes it. The call ends with the block."""

    async def set_upstream(self, address: Address, request: pb.SetUpstreamRequest) -> None:
        """Let a hop take its steps from another sender."""

    async def set_downstream(
        self, address: Address, request: pb.SetDownstreamRequest
    ) -> pb.SetDownstreamReply:
        """Let a hop replay its outputs to another receiver, and send the next ones there."""

    async def progress(self, address: Address, request: pb.ProgressRequest) -> pb.ProgressReply:
        """Ask a hop how far it is."""

    async def settle(self, address: Address, request: pb.SettleRequest) -> pb.SettleReply:
        """Give a hop a receipt to countersign."""

    async def ping(self, address: Address) -> Pong:
        """Measure a round trip, without the time to connect. Another server's answer is a failure."""

    def lane(self, address: Address) -> AbstractAsyncContextManager[ClientLane]:
        """Dial a lane. It is closed when the block ends."""

    def way_to(self, peer_id: PeerId) -> Way | None:
        """How calls reach this server now; None: it isn't connected, or nobody knows. Any thread may ask."""

    def way_of(self, lane: ClientLane, peer_id: PeerId) -> Way | None:
        """How a lane reaches this server now. Any thread may ask."""

    async def deliver(self, lane: ClientLane, frame: bytes) -> None:
        """Send a whole frame, and wait for the receiver if necessary. Raises OSError."""

    def waiter(self) -> Waiter:
        """Make a waiter for one thread."""

    async def close(self) -> None:
        """Close every connection."""
