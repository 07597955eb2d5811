"""What a client asks of the network: calls to hops, lanes, and a thread's way to wait for them.

Everything of a session, a chain and a route is decided and done above this line. Below it are gRPC and TLS
(grpc_carrier.py), or the simulator that the tests put in their place.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.dialling import Address


class ClientLane(Protocol):
    """One end of a lane, as in wire/lanes.py."""

    max_frame_bytes: int

    def send(self, frame: bytes) -> bool:
        """Send a frame. True: all is out; False: call `flush` later. Raises OSError."""

    def flush(self) -> bool:
        """Send what the network takes now. True: nothing is left. Raises OSError."""

    def receive(self) -> bytes | None:
        """The next frame, None if there is none yet. Raises OSError, EOFError, ProtocolError."""

    def close(self) -> None:
        """Close it; closing twice is harmless."""


class HopCall(Protocol):
    """The call of an open session at one hop."""

    async def frame(self) -> pb.ServerFrame:
        """What the hop says next. Raises HopFailedError or RefusedError when the call has ended."""

    async def close(self) -> None:
        """End the call, and with it the session."""


class Waiter(Protocol):
    """How the thread that generates waits for its lanes, or for word from the event loop."""

    def wait(self, results: ClientLane, unsent: ClientLane | None, seconds: float) -> None:
        """Return when results can be read, `unsent` can take more, somebody woke us, or time is over."""

    def wake(self) -> None:
        """End the wait of whoever waits, or the next one. Any thread may call it."""

    def close(self) -> None:
        """Give its resources back."""


class Carrier(Protocol):
    """Reaches servers. All but `waiter` is for the network's event loop.

    Every call raises HopFailedError if the server can't be reached or the connection breaks, and
    RefusedError if it says no. None of them times out by itself, `open` and `lane` apart, which give up
    connecting after a few seconds.
    """

    def open(self, address: Address, opening: pb.Opening) -> AbstractAsyncContextManager[HopCall]:
        """Begin a session; the first frame says if it was taken. The call ends with the block."""

    async def set_upstream(self, address: Address, request: pb.SetUpstreamRequest) -> None:
        """See the protocol."""

    async def set_downstream(
        self, address: Address, request: pb.SetDownstreamRequest
    ) -> pb.SetDownstreamReply:
        """See the protocol."""

    async def progress(self, address: Address, request: pb.ProgressRequest) -> pb.ProgressReply:
        """See the protocol."""

    async def settle(self, address: Address, request: pb.SettleRequest) -> pb.SettleReply:
        """See the protocol."""

    async def ping(self, address: Address) -> float:
        """Seconds of a round trip, connecting not counted."""

    def lane(self, address: Address) -> AbstractAsyncContextManager[ClientLane]:
        """Dial a lane; it is closed when the block ends."""

    async def deliver(self, lane: ClientLane, frame: bytes) -> None:
        """Send a frame however long the other side takes. Raises OSError."""

    def waiter(self) -> Waiter:
        """A way to wait for one thread."""

    async def close(self) -> None:
        """Close every connection."""
