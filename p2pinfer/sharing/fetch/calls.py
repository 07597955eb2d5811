"""Calls to a peer's Sharing service, with its answers as a stranger's: bounded in time, parsed here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from p2pinfer.errors import HopFailedError, P2PInferError, ProtocolError, RefusedError
from p2pinfer.types import Address, PeerId
from p2pinfer.wire import sharing_pb2 as pb
from p2pinfer.wire.channels import ChannelPool
from p2pinfer.wire.status import refusal_of, words_of
from p2pinfer.wire.traffic import Traffic

_Answer = TypeVar("_Answer", bound=Message)

_FRAME_BYTES = 14  # of HTTP/2 and gRPC around a message


class Call(AsyncIterator[_Answer]):
    """The answers of one call. Ends normally when the peer has ended it well.

    Raises RefusedError; HopFailedError if the peer is silent or the connection breaks; ProtocolError if an
    answer can't be parsed.
    """

    def __init__(
        self,
        peer_id: PeerId,
        call: Any,
        kind: type[_Answer],
        traffic: Traffic,
        silent_seconds: float | None,
    ) -> None:
        self.silent_seconds = silent_seconds
        """The longest wait for the next answer; None: for ever."""
        self._peer_id = peer_id
        self._call = call
        self._kind = kind
        self._traffic = traffic

    def __aiter__(self) -> Call[_Answer]:
        return self

    async def __anext__(self) -> _Answer:
        try:
            async with asyncio.timeout(self.silent_seconds):
                data = await self._call.read()
            if data is grpc.aio.EOF:
                await self._check_end()
                raise StopAsyncIteration
        except TimeoutError as error:
            detail = f"it was silent for {self.silent_seconds:.0f} s"
            raise HopFailedError(self._peer_id, detail, certain=False) from error
        except grpc.aio.AioRpcError as error:
            raise _failure(self._peer_id, error) from None
        self._traffic.count_received(len(data) + _FRAME_BYTES)
        try:
            return self._kind.FromString(data)
        except DecodeError as error:
            raise ProtocolError("an answer can't be parsed") from error

    def cancel(self) -> None:
        """End the call."""
        self._call.cancel()

    async def _check_end(self) -> None:
        code = await self._call.code()
        if code is not grpc.StatusCode.OK:
            details, trailing = await self._call.details(), await self._call.trailing_metadata()
            raise _failure(self._peer_id, grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details))


class SharingCalls:
    """The calls to one connected peer."""

    def __init__(self, peer_id: PeerId, channel: grpc.aio.Channel, traffic: Traffic) -> None:
        self._peer_id = peer_id
        self._channel = channel
        self._traffic = traffic

    def manifest(self, request: pb.ManifestRequest, silent_seconds: float) -> Call[pb.ManifestPart]:
        """Ask for the manifest."""
        return self._call("GetManifest", request, pb.ManifestPart, silent_seconds)

    def holdings(self, request: pb.HoldingsRequest, silent_seconds: float) -> Call[pb.Holdings]:
        """Ask what the peer holds, now and later."""
        return self._call("WatchHoldings", request, pb.Holdings, silent_seconds)

    def chunk(self, request: pb.ChunkRequest, silent_seconds: float) -> Call[pb.ChunkPart]:
        """Ask for one of several chunks."""
        return self._call("GetChunk", request, pb.ChunkPart, silent_seconds)

    def _call(self, method: str, request: Any, answer: type[_Answer], silent_seconds: float) -> Call[_Answer]:
        # Without a deserializer: gRPC would log a traceback for every answer that can't be parsed.
        open_call = self._channel.unary_stream(f"/p2pinfer.wire.Sharing/{method}")
        data = request.SerializeToString()
        self._traffic.count_sent(len(data) + _FRAME_BYTES)
        return Call(self._peer_id, open_call(data), answer, self._traffic, silent_seconds)


@asynccontextmanager
async def connected(pool: ChannelPool, address: Address) -> AsyncIterator[SharingCalls]:
    """Connect to a peer. A connection that fails is not used again. Raises HopFailedError."""
    async with pool.connected(address) as channel:
        try:
            yield SharingCalls(address.peer_id, channel, pool.traffic_with(address.peer_id))
        except (HopFailedError, ProtocolError):
            await pool.forget(address.peer_id)
            raise


def _failure(peer_id: PeerId, error: grpc.aio.AioRpcError) -> P2PInferError:
    refused = refusal_of(error)
    if refused is not None:
        return RefusedError(peer_id, refused.reason, refused.detail, refused.retry_after_seconds)
    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
        return HopFailedError(peer_id, "it is of a version that shares no files")
    return HopFailedError(peer_id, words_of(error), certain=False)
