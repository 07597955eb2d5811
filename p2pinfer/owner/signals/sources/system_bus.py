"""D-Bus's system bus, as far as NetworkManager and logind need it: properties, calls, changes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from dbus_fast import BusType, Message, MessageFlag, MessageType, unpack_variants
from dbus_fast.aio import MessageBus
from dbus_fast.errors import AuthError, DBusError, InvalidAddressError

from p2pinfer.owner.signals.trouble import NAME_ANOTHER, NO_INSTRUMENT, SourceError

_ANSWER_SECONDS = 5.0
_PROPERTIES = "org.freedesktop.DBus.Properties"
_BUS = "org.freedesktop.DBus"
_ABSENT = ("ServiceUnknown", "NameHasNoOwner", "Spawn.")  # in the names of errors


class AbsentError(SourceError):
    """The bus works, but the service doesn't run here."""


class SystemBus:
    """A connection to the system bus. `connected` makes one."""

    def __init__(self, bus: MessageBus) -> None:
        self._bus = bus

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(cls, address: str | None = None) -> AsyncIterator[SystemBus]:
        """Connect. `address` is in D-Bus's own notation; None: the system bus. Raises SourceError."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                bus = await MessageBus(bus_address=address, bus_type=BusType.SYSTEM).connect()
        except (OSError, EOFError, TypeError, AuthError, InvalidAddressError, DBusError, TimeoutError):
            raise SourceError(
                "this machine has no D-Bus that p2pinfer can reach", kind=NO_INSTRUMENT, advice=NAME_ANOTHER
            ) from None
        try:
            yield cls(bus)
        finally:
            bus.disconnect()

    async def ended(self) -> None:
        """Return when the connection has ended."""
        disconnected: Callable[[], Awaitable[None]] = self._bus.wait_for_disconnect
        with contextlib.suppress(OSError, EOFError):
            await disconnected()

    async def properties(self, service: str, path: str, interface: str) -> dict[str, object]:
        """All properties of an object. Raises SourceError, or AbsentError if the service doesn't run."""
        (found,) = await self._call(service, path, _PROPERTIES, "GetAll", "s", [interface], answer="a{sv}")
        return found if isinstance(found, dict) else {}

    async def call(self, service: str, path: str, interface: str, method: str, *, answer: str) -> object:
        """The result, of the D-Bus type `answer`, of a method without arguments. Raises like `properties`."""
        (found,) = await self._call(service, path, interface, method, "", [], answer=answer)
        return found

    async def watch(self, service: str, path: str, changed: Callable[[], None]) -> None:
        """Call `changed` when properties of this object change, and when the service starts or ends."""
        rules = (
            f"type='signal',sender='{service}',path='{path}',interface='{_PROPERTIES}',"
            "member='PropertiesChanged'",
            f"type='signal',sender='{_BUS}',interface='{_BUS}',member='NameOwnerChanged',arg0='{service}'",
        )

        def handle(message: Message) -> None:
            if message.message_type is MessageType.SIGNAL and (
                (message.member == "PropertiesChanged" and message.path == path)
                or (message.member == "NameOwnerChanged" and message.body[:1] == [service])
            ):
                changed()

        self._bus.add_message_handler(handle)
        for rule in rules:
            await self._call(_BUS, "/org/freedesktop/DBus", _BUS, "AddMatch", "s", [rule], answer="")

    async def _call(
        self,
        service: str,
        path: str,
        interface: str,
        method: str,
        signature: str,
        arguments: Sequence[object],
        *,
        answer: str,
    ) -> list[object]:
        message = Message(
            destination=service,
            path=path,
            interface=interface,
            member=method,
            signature=signature,
            body=list(arguments),
            flags=MessageFlag.NO_AUTOSTART,  # a look must not start a service
        )
        name = service.rpartition(".")[2]
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                reply = await self._bus.call(message)
        except TimeoutError:
            raise SourceError(f"{name} doesn't answer", kind="silent") from None
        except (OSError, EOFError, DBusError):
            raise SourceError("the connection to D-Bus was lost", kind="lost") from None
        if reply.message_type is MessageType.ERROR:
            if any(word in (reply.error_name or "") for word in _ABSENT):
                raise AbsentError(f"{name} doesn't run here", kind=NO_INSTRUMENT, advice=NAME_ANOTHER)
            raise SourceError(f"{name} refuses to tell ({reply.error_name})", kind="refused")
        if reply.signature != answer:
            raise SourceError(f"{name} answers in an unknown way", kind="rubbish")
        return list(unpack_variants(reply.body))
