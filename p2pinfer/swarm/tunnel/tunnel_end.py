"""One end of a tunnel: a local connection, and the links that carry its bytes one after the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from p2pinfer.errors import ProtocolError
from p2pinfer.swarm.membership.daemon import Stream
from p2pinfer.swarm.tunnel.link import Link
from p2pinfer.swarm.tunnel.messages import MOST_BYTES, Kind, Message
from p2pinfer.swarm.tunnel.state import WINDOW_BYTES, State
from p2pinfer.swarm.tunnel.streams import abort, closed, drop
from p2pinfer.tasks import ending

HALF_CLOSED_SECONDS = 10.0
"""A tunnel whose local connection has ended, and on which nothing moves for so long, ends."""
_QUIET_SECONDS = 0.5
_PART_SECONDS = 1.0  # many round trips

_logger = logging.getLogger(__name__)


class TunnelEnd:
    """The local connection is read while there is room for what isn't acknowledged."""

    def __init__(self, local: Stream, window_bytes: Callable[[], int] = lambda: WINDOW_BYTES) -> None:
        self.state = State()
        self.link: Link | None = None  # where we write
        self._former: Link | None = None  # where we wrote; it is read until the other end uses the new one
        self._offered: Link | None = None  # where we shall write once the other end does
        self._reader, self._writer = local
        self._window_bytes = window_bytes
        self._most_waiting = self._writer.transport.get_write_buffer_limits()[1]
        self._has_room = asyncio.Event()
        self._is_slow = asyncio.Event()  # the local connection
        self._over = asyncio.Event()
        self._has_parted = asyncio.Event()  # the other end has closed the tunnel too
        self._quiet: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self.heard_at = self._loop.time()
        """When the other end last said something, on the event loop's clock."""

    @property
    def is_over(self) -> bool:
        """True once the tunnel has ended, well or not."""
        return self._over.is_set()

    async def wait_over(self) -> None:
        """Wait until the tunnel has ended, well or not."""
        await self._over.wait()

    async def live(self) -> None:
        """Pass on what the local connection says until the tunnel is over; then close everything."""
        try:
            try:
                async with (
                    ending(asyncio.create_task(self._read_local())),
                    ending(asyncio.create_task(self._deliver_slowly())),
                ):
                    await self._over.wait()
            finally:  # also if this is cancelled
                self.fail("left")
                if self.state.has_ended:
                    self._writer.close()
                else:
                    abort(self._writer)
                await self._part()
            await closed(self._writer, None)  # its reader may be slow: what has arrived here isn't lost
        finally:
            abort(self._writer)
            for link in (self.link, self._former, self._offered):
                if link is not None:
                    drop(link.writer)

    async def _part(self) -> None:
        """Close the stream when the other end has closed the tunnel too: until then its bytes may come.

        p2pd, which couldn't pass them on, would reset the stream, and what we said last would be lost.
        """
        if (link := self.link) is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_PART_SECONDS):
                    await self._has_parted.wait()
            drop(link.writer)

    def fail(self, reason: str) -> None:
        """End the tunnel now, and tell the other end."""
        if not self.is_over:
            _logger.debug("tunnel ended: %s", reason)
            self._end()

    def attach(self, link: Link) -> None:
        """Write on `link` from now on."""
        if self._former is not None:
            self._former.abort()
        self.link, self._former = link, self.link
        self._has_room.set()
        self._flush()

    def offer(self, link: Link) -> None:
        """Write on `link` as soon as the other end does; at once if there is no other link."""
        if self.link is None:
            self.attach(link)
            return
        if self._offered is not None:
            self._offered.abort()
        self._offered = link

    async def carry(self, link: Link) -> None:
        """Run a link until its stream has ended. `link` of this end is None then if no other one is left."""

        def handle(message: Message) -> None:
            if link is self._offered:
                self._offered = None
                self.attach(link)
            if link is self.link and self._former is not None:
                self._former.abort()
                self._former = None
            self._handle(message)

        try:
            await link.run(handle)
        except (OSError, EOFError) as error:
            _logger.debug("a stream of a tunnel ended: %r", error)
        except ProtocolError as error:
            self.fail(str(error))
        finally:
            self._detach(link)

    def _detach(self, link: Link) -> None:
        if self.is_over and link is self.link:
            self._has_parted.set()
            return  # `live` closes it
        link.abort()
        if link is self._offered:
            self._offered = None
        elif link is self._former:
            self._former = None
        elif link is self.link:
            self.link = self._former or self._offered
            self._former = self._offered = None
            self.state.acknowledge_soon()
            self._flush()

    async def _read_local(self) -> None:
        sending = self.state.sending
        try:
            while True:
                while (room := self._window_bytes() - sending.kept_bytes) <= 0:
                    self._has_room.clear()
                    await self._has_room.wait()
                data = await self._reader.read(min(MOST_BYTES, room))
                if not data:
                    break
                sending.put(data)
                self._flush()
        except OSError as error:
            self.fail(f"the local connection broke: {error!r}")
            return
        sending.put_end()
        self._flush()
        await self._fail_unless_it_ends()

    async def _fail_unless_it_ends(self) -> None:
        """The local connection says nothing more: end the tunnel, unless the other end still takes or says
        something. It could keep the place of a connection for ever that was closed here."""
        before = None
        while (now := (self.state.sending.kept_bytes, self.state.receiving.received)) != before:
            before = now
            await asyncio.sleep(HALF_CLOSED_SECONDS)
        self.fail("its other end doesn't end it")

    async def _deliver_slowly(self) -> None:
        try:
            while True:
                await self._is_slow.wait()
                await self._writer.drain()
                self._is_slow.clear()
                self._deliver()
        except OSError as error:
            self.fail(f"the local connection broke: {error!r}")

    def _handle(self, message: Message) -> None:
        """Do what a message says. Raises ProtocolError."""
        state = self.state
        self.heard_at = self._loop.time()
        if self.is_over:
            if message.kind is Kind.CLOSE:
                self._has_parted.set()
        elif message.kind is Kind.DATA:
            if new := state.receiving.take(message.offset, message.body):
                if self._writer.transport.is_closing():
                    self.fail("the local connection broke")
                    return
                self._writer.write(new)
                self._deliver()
        elif message.kind is Kind.ACK:
            state.sending.acknowledge(message.offset)
            self._has_room.set()
            self._flush()
        elif message.kind is Kind.END:
            if state.receiving.take_end(message.offset):
                self._end_local()
                self._deliver()
        elif message.kind is Kind.CLOSE:
            self._has_parted.set()
            self.fail("closed by its other end")
        else:
            raise ProtocolError(f"a message {message.kind.name} amid a tunnel")

    def _deliver(self) -> None:
        """Acknowledge what the local connection has taken; what it leaves waits in its buffer."""
        if self._writer.transport.get_write_buffer_size() > self._most_waiting:
            self._is_slow.set()
        else:
            self.state.deliver()
            self._acknowledge()

    def _end_local(self) -> None:
        try:
            if not self._writer.transport.is_closing():
                self._writer.write_eof()
        except OSError as error:
            self.fail(f"the local connection broke: {error!r}")

    def _acknowledge(self) -> None:
        if self.state.is_due:
            self._flush()
        elif self._quiet is None and self.state.owes_acknowledgement:
            self._wait_for_quiet()

    def _wait_for_quiet(self) -> None:
        self._quiet = asyncio.get_running_loop().call_later(_QUIET_SECONDS, self._acknowledge_quietly)

    def _acknowledge_quietly(self) -> None:
        """Let the next data carry an acknowledgement; if none come for a while, send it alone."""
        self._quiet = None
        if not self.state.owes_acknowledgement:
            return
        if self.state.acknowledge_with_data():
            self._wait_for_quiet()
        else:
            self.state.acknowledge_soon()
            self._flush()

    def _flush(self) -> None:
        if self.link is not None and not self.is_over:
            self.link.flush()
            if self.state.is_finished:
                self._end()

    def _end(self) -> None:
        if self.link is not None:
            self.link.say_close()
        self._over.set()
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None
