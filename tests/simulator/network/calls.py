"""gRPC in the simulator: calls over one connection, a status at the end of each, keepalive both ways."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any, NoReturn

from p2pinfer.errors import HopFailedError, P2PInferError, RefusedError
from p2pinfer.types import PeerId
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.status import REASON_KEY, RETRY_KEY
from tests.simulator.network.sockets import Socket

KEEPALIVE_SECONDS = 10.0  # as CHANNEL_OPTIONS and SERVER_OPTIONS have it

REPLIES = {
    "SetUpstream": pb.SetUpstreamReply,
    "SetDownstream": pb.SetDownstreamReply,
    "Progress": pb.ProgressReply,
    "Settle": pb.SettleReply,
    "Ping": pb.PingReply,
    "Session": pb.ServerFrame,
}
REQUESTS = {
    "SetUpstream": pb.SetUpstreamRequest,
    "SetDownstream": pb.SetDownstreamRequest,
    "Progress": pb.ProgressRequest,
    "Settle": pb.SettleRequest,
    "Ping": pb.PingRequest,
    "Session": pb.Opening,
}


class _End:
    """The common part of both ends of a connection for calls. `broken`: why it ended; empty before."""

    def __init__(self, socket: Socket, loop: asyncio.AbstractEventLoop) -> None:
        self.broken = ""
        self._socket = socket
        self._loop = loop
        self._heard_at = loop.time()
        self._asked_at: float | None = None
        self._due = False
        self._keepalive = loop.call_later(KEEPALIVE_SECONDS, self._keep_alive)
        socket.on_readable = self._wake
        self._wake()

    def close(self, why: str) -> None:
        """End the connection and all calls on it."""
        if not self.broken:
            self.broken = why
            self._keepalive.cancel()
            self._socket.close()
            self._ended()

    def _send(self, *message: Any) -> None:
        if not self.broken:
            try:
                self._socket.push(message, 64)
            except OSError as error:
                self.close(str(error))

    def _wake(self) -> None:
        if not self._due:
            self._due = True
            self._loop.call_soon(self._read)

    def _read(self) -> None:
        self._due = False
        while not self.broken:
            try:
                message = self._socket.take()
            except (OSError, EOFError) as error:
                self.close(str(error))
                return
            if message is None:
                return
            self._heard_at, self._asked_at = self._loop.time(), None
            if message[0] == "ping":
                self._send("pong")
            elif message[0] != "pong":
                self._take(*message)

    def _keep_alive(self) -> None:
        now = self._loop.time()
        if self._asked_at is not None:
            self.close("keepalive: no answer")
            return
        quiet = now - self._heard_at
        if quiet >= KEEPALIVE_SECONDS - 0.001:  # a wait as short as a rounding error would never end
            self._asked_at, quiet = now, 0.0
            self._send("ping")
        if not self.broken:
            self._keepalive = self._loop.call_later(KEEPALIVE_SECONDS - quiet, self._keep_alive)

    def _take(self, kind: str, number: int, *content: Any) -> None:
        raise NotImplementedError

    def _ended(self) -> None:
        raise NotImplementedError


class Call:
    """A call at the client: frames, then an end."""

    def __init__(self, channel: ClientChannel, number: int, method: str) -> None:
        self.method = method
        self.frames: asyncio.Queue[Any] = asyncio.Queue()
        self._channel = channel
        self._number = number
        self._end: P2PInferError | None = None

    async def frame(self) -> Any:
        """Wait for the next message. Raises HopFailedError or RefusedError when the call has ended."""
        if self._end is not None and self.frames.empty():
            raise self._end
        frame = await self.frames.get()
        if isinstance(frame, P2PInferError):
            self._end = frame
            raise frame
        return frame

    def cancel(self) -> None:
        """End it."""
        self._channel.cancel(self._number)


class ClientChannel(_End):
    """The client's end: one per server, shared by all sessions."""

    def __init__(self, peer_id: PeerId, socket: Socket, loop: asyncio.AbstractEventLoop) -> None:
        self.peer_id = peer_id
        self._calls: dict[int, Call] = {}
        self._numbers = count(1)
        super().__init__(socket, loop)

    def begin(self, method: str, request: Any) -> Call:
        """Start a call."""
        number = next(self._numbers)
        call = self._calls[number] = Call(self, number, method)
        if self.broken:
            self._ended()
        else:
            self._send("call", number, method, request.SerializeToString())
        return call

    def cancel(self, number: int) -> None:
        if self._calls.pop(number, None) is not None:
            self._send("cancel", number)

    def _take(self, kind: str, number: int, *content: Any) -> None:
        call = self._calls.get(number)
        if call is None:
            return
        if kind == "frame":
            frame = REPLIES[call.method]()
            frame.ParseFromString(content[0])
            call.frames.put_nowait(frame)
        else:
            del self._calls[number]
            call.frames.put_nowait(self._failure(*content))

    def _failure(self, detail: str, trailing: dict[str, str]) -> P2PInferError:
        if REASON_KEY in trailing:
            retry = float(trailing.get(RETRY_KEY, 0.0))
            return RefusedError(self.peer_id, trailing[REASON_KEY], detail, retry)
        return HopFailedError(self.peer_id, detail, certain=False)

    def _ended(self) -> None:
        calls, self._calls = self._calls, {}
        for call in calls.values():
            error = HopFailedError(self.peer_id, f"unavailable: {self.broken}", certain=False)
            call.frames.put_nowait(error)


class _Aborted(Exception):  # noqa: N818  grpc.aio raises this in a handler that aborts
    def __init__(self, detail: str, trailing: dict[str, str]) -> None:
        super().__init__(detail)
        self.detail = detail
        self.trailing = trailing


class _Context:
    """The part of gRPC's context that handlers use."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write

    async def write(self, frame: Any) -> None:
        self._write(frame.SerializeToString())

    async def abort(self, code: object, detail: str, trailing: tuple[tuple[str, str], ...] = ()) -> NoReturn:
        raise _Aborted(detail, dict(trailing))


class ServerChannel(_End):
    """The server's end. `on_call(method)` gets every call, `on_fault` errors that are no abort."""

    def __init__(
        self,
        handler: Any,
        socket: Socket,
        loop: asyncio.AbstractEventLoop,
        on_call: Callable[[str], None],
        on_fault: Callable[[BaseException], None],
    ) -> None:
        self._handler = handler
        self._on_call = on_call
        self._on_fault = on_fault
        self._tasks: dict[int, asyncio.Task[None]] = {}
        super().__init__(socket, loop)

    def _take(self, kind: str, number: int, *content: Any) -> None:
        if kind == "call":
            task = self._tasks[number] = self._loop.create_task(self._serve(number, *content))
            task.add_done_callback(lambda _: self._tasks.pop(number, None))
        elif number in self._tasks:
            self._tasks[number].cancel()

    async def _serve(self, number: int, method: str, data: bytes) -> None:
        self._on_call(method)
        request = REQUESTS[method]()
        request.ParseFromString(data)
        try:
            context = _Context(lambda frame: self._send("frame", number, frame))
            reply = await getattr(self._handler, method)(request, context)
            if reply is not None:
                self._send("frame", number, reply.SerializeToString())
            self._send("end", number, "the stream ended", {})
        except _Aborted as aborted:
            self._send("end", number, aborted.detail, aborted.trailing)
        except Exception as error:  # noqa: BLE001  a fault of the server, which is reported
            self._on_fault(error)
            self._send("end", number, f"unknown: {error!r}", {})

    def _ended(self) -> None:
        for task in list(self._tasks.values()):
            task.cancel()
