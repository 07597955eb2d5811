"""Pushes a session's outputs to the next hop, over one stream that lives as long as the session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from p2pinfer.errors import HopFailedError
from p2pinfer.types import PeerId
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.channels import Address, ChannelPool
from p2pinfer.wire.inference_pb2_grpc import InferenceStub

_PUSH_SECONDS = 30.0


class Forwarder:
    """One session's way to its next hop."""

    def __init__(self, peer_id: PeerId, channel: grpc.aio.Channel, opening: pb.PushOpening) -> None:
        self.peer_id = peer_id
        self._stub: Any = InferenceStub(channel)
        self._opening = opening
        self._call: grpc.aio.StreamStreamCall[Any, Any] | None = None

    async def send(self, step: bytes) -> None:
        """Push one step. Raises HopFailedError if the next hop doesn't take it in time.

        The stream is opened with the first step: only then has the client opened the next hop.
        """
        try:
            async with asyncio.timeout(_PUSH_SECONDS):
                if self._call is None:
                    self._call = self._stub.Push(wait_for_ready=False)
                    await self._call.write(pb.PushFrame(opening=self._opening))
                await self._call.write(pb.PushFrame(step=step))
        except TimeoutError as error:
            raise HopFailedError(self.peer_id, f"it took no step for {_PUSH_SECONDS:.0f} s") from error
        except asyncio.InvalidStateError as error:  # the call has ended: the next hop refused or left
            raise HopFailedError(self.peer_id, "it closed the stream") from error
        except grpc.aio.AioRpcError as error:
            raise HopFailedError(self.peer_id, error.details() or error.code().name) from error

    def close(self) -> None:
        """End the stream; the next hop frees nothing by it, its own session stream does that."""
        if self._call is not None:
            self._call.cancel()


@asynccontextmanager
async def forwarder_to(
    pool: ChannelPool, address: Address, session_id: bytes, push_key: bytes
) -> AsyncIterator[Forwarder]:
    """Connect to the next hop and keep the channel for one session.

    Raises HopFailedError if it can't be reached: better at opening than in the first step.
    """
    async with pool.connected(address) as channel:
        forwarder = Forwarder(
            address.peer_id, channel, pb.PushOpening(session_id=session_id, push_key=push_key)
        )
        try:
            yield forwarder
        except HopFailedError as error:
            if error.peer_id == address.peer_id:
                await pool.forget(address.peer_id)
            raise
        finally:
            forwarder.close()
