"""Whether the network is metered, and which Wi-Fi it is: NetworkManager over D-Bus.

NetworkManager announces changes, so that a lost Wi-Fi is known at once. It is also asked every few seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from p2pinfer.owner.signals.known import Known
from p2pinfer.owner.signals.meaning import Told
from p2pinfer.owner.signals.persistence import USUAL_PAUSES, Pauses, keep_connected, together
from p2pinfer.owner.signals.readings import Signal
from p2pinfer.owner.signals.sources.system_bus import AbsentError, SystemBus
from p2pinfer.owner.signals.trouble import SourceError
from p2pinfer.plain_text import printable

_SERVICE = "org.freedesktop.NetworkManager"
_PATH = "/org/freedesktop/NetworkManager"
_ORIGIN = "NetworkManager"
_SETTLE_SECONDS = 0.1  # one change is announced in several pieces
_ACTIVATED = 2  # NMActiveConnectionState

_METERED = {  # NMMetered; 0 is unknown
    1: Told(value=False, words="the network is metered"),
    2: Told(value=True, words="the network is not metered"),
    3: Told(value=False, words="NetworkManager guesses that the network is metered"),
    4: Told(value=True, words="NetworkManager guesses that the network is not metered"),
}


class NetworkListener:
    """Listens for `unmetered` and `wifi`, or the one of them that is wanted."""

    def __init__(
        self,
        wanted: Collection[Signal],
        known: Known,
        *,
        bus_address: str | None = None,
        every_seconds: float = 10.0,
        pauses: Pauses = USUAL_PAUSES,
    ) -> None:
        self._wanted = frozenset(wanted)
        self._known = known
        self._bus_address = bus_address
        self._every_seconds = every_seconds
        self._pauses = pauses

    async def run(self) -> None:
        """Listen until cancelled."""
        await keep_connected(self._known, _ORIGIN, self._wanted, self._listen, self._pauses)

    async def _listen(self, established: Callable[[], None]) -> None:
        async with SystemBus.connected(self._bus_address) as bus:
            await together(bus.ended(), self._follow(bus, established))

    async def _follow(self, bus: SystemBus, established: Callable[[], None]) -> None:
        changed = asyncio.Event()
        await bus.watch(_SERVICE, _PATH, changed.set)
        while True:
            changed.clear()
            try:
                await self._look(bus)
            except AbsentError as error:  # the bus will announce it when it starts
                self._known.lose(self._wanted, origin=_ORIGIN, error=error)
            else:
                established()
            await self._sleep_or(changed)

    async def _sleep_or(self, changed: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(self._every_seconds):
                await changed.wait()
        except TimeoutError:
            return
        await asyncio.sleep(_SETTLE_SECONDS)

    async def _look(self, bus: SystemBus) -> None:
        manager = await bus.properties(_SERVICE, _PATH, _SERVICE)
        if Signal.UNMETERED in self._wanted:
            self._tell_metered(manager.get("Metered"))
        if Signal.WIFI in self._wanted:
            self._known.tell(Signal.WIFI, await self._wifi(bus, manager), origin=_ORIGIN)

    def _tell_metered(self, metered: object) -> None:
        if isinstance(metered, int) and metered in _METERED:
            self._known.tell(Signal.UNMETERED, _METERED[metered], origin=_ORIGIN)
            return
        error = SourceError(
            "it doesn't know whether the network is metered",
            kind="unknown",
            advice="tell it: nmcli connection modify NAME connection.metered no",
        )
        self._known.withdraw(Signal.UNMETERED, origin=_ORIGIN, error=error)

    async def _wifi(self, bus: SystemBus, manager: dict[str, object]) -> Told:
        """The Wi-Fi of the primary connection, or else of any other active connection."""
        active = manager.get("ActiveConnections")
        paths = [manager.get("PrimaryConnection"), *(active if isinstance(active, list) else ())]
        for path in dict.fromkeys(paths):
            if not isinstance(path, str) or path == "/":
                continue
            try:
                connection = await bus.properties(_SERVICE, path, f"{_SERVICE}.Connection.Active")
                point = connection.get("SpecificObject")
                if connection.get("Type") != "802-11-wireless" or connection.get("State") != _ACTIVATED:
                    continue
                if not isinstance(point, str) or point == "/":
                    continue
                found = await bus.properties(_SERVICE, point, f"{_SERVICE}.AccessPoint")
            except AbsentError:
                raise
            except SourceError as error:
                if error.kind != "refused":
                    raise
                continue  # it ended meanwhile, which is announced
            name = bytes(ssid) if isinstance(ssid := found.get("Ssid"), bytes | list) else b""
            network = printable(name.decode(errors="replace"), 100)
            return Told(value=network, words=f"the Wi-Fi is {network}")
        return Told(value="", words="no Wi-Fi is connected")
