"""Whether somebody uses the machine: input at terminals, and graphical sessions that aren't idle.

A terminal shows when it was last read from. About a graphical session only the desktop knows; it tells
logind, after a delay of its own (mostly five minutes). A desktop that tells logind nothing counts as in use
while somebody is logged in: in doubt the user has the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from p2pinfer.owner.signals.meaning import Told
from p2pinfer.owner.signals.sources.host import Terminal, terminals
from p2pinfer.owner.signals.trouble import NO_INSTRUMENT, SourceError
from p2pinfer.plain_text import printable
from p2pinfer.threads import BackgroundThread

if TYPE_CHECKING:  # its library exists on Linux only
    from p2pinfer.owner.signals.sources.system_bus import SystemBus

Connect = Callable[[], contextlib.AbstractAsyncContextManager["SystemBus"]]

_LOGIND = "org.freedesktop.login1"
_MANAGER = "/org/freedesktop/login1"
_SESSIONS = "a(susso)"
_GRAPHICAL = frozenset({"x11", "wayland", "mir"})
_UTMP = Path("/run/utmp")  # the list of logins; containers have none
_AGAIN_SECONDS = 30.0  # before logind is looked for again


class UsersPresence:
    """Looks at terminals, and at sessions if there is a bus to connect to. Close it at the end."""

    def __init__(self, *, idle_seconds: float, now: Callable[[], float], connect: Connect | None) -> None:
        self._idle_seconds = idle_seconds
        self._now = now
        self._connect = connect
        self._thread = BackgroundThread("owner-signal")
        self._open = contextlib.AsyncExitStack()
        self._bus: SystemBus | None = None
        self._next_try_at = 0.0  # the event loop's clock

    async def look(self) -> Told:
        """Look at sessions and terminals. Raises SourceError if neither can be seen."""
        sessions = await self._sessions()
        user = next((name for name, in_use in map(_graphical, sessions or ()) if in_use), None)
        if user is not None:
            return Told(value=True, words=f"{user} uses the machine")
        return await self._thread.run(lambda: self._look_at_terminals(sessions))

    async def close(self) -> None:
        """Leave the bus, and let the thread end."""
        self._thread.close()
        await self._leave_bus()

    async def _leave_bus(self) -> None:
        self._bus = None
        await self._open.aclose()

    def _look_at_terminals(self, sessions: Sequence[dict[str, object]] | None) -> Told:
        """The terminals that the machine lists, and those that logind lists. May block."""
        found = terminals()
        if sessions is None and not found and sys.platform == "linux" and not _UTMP.exists():
            raise SourceError(
                "this machine can't tell: it has no list of logins, and no logind",
                kind=NO_INSTRUMENT,
                advice='name another source in [signals], or set then = "limit" or "ignore" in [in_use]',
            )
        if sessions is None and any(not terminal.device for terminal in found):
            return Told(value=True, words="somebody is logged in at the screen")
        found += [Terminal(tty, f"/dev/{tty}") for tty in map(_terminal, sessions or ()) if tty]
        idle = []
        for terminal in found:
            with contextlib.suppress(OSError):  # logged out meanwhile, or a device that we may not see
                if terminal.device:
                    idle.append(self._now() - os.stat(terminal.device).st_atime)
        if idle and min(idle) < self._idle_seconds:
            return Told(value=True, words=f"somebody typed at a terminal {max(0.0, min(idle)):.0f} s ago")
        return Told(value=False, words="nobody uses the machine")

    async def _sessions(self) -> Sequence[dict[str, object]] | None:
        """The properties of all sessions; None if there is no logind."""
        loop = asyncio.get_running_loop()
        if self._connect is None or (self._bus is None and loop.time() < self._next_try_at):
            return None
        try:
            if self._bus is None:
                self._bus = await self._open.enter_async_context(self._connect())
            return await self._ask(self._bus)
        except SourceError:
            self._next_try_at = loop.time() + _AGAIN_SECONDS
            await self._leave_bus()
            return None

    async def _ask(self, bus: SystemBus) -> Sequence[dict[str, object]]:
        listed = await bus.call(_LOGIND, _MANAGER, f"{_LOGIND}.Manager", "ListSessions", answer=_SESSIONS)
        sessions = []
        for session in listed if isinstance(listed, list) else ():
            try:
                sessions.append(await bus.properties(_LOGIND, session[4], f"{_LOGIND}.Session"))
            except SourceError as error:
                if error.kind != "refused":  # the session has ended meanwhile
                    raise
        return sessions


def _graphical(session: dict[str, object]) -> tuple[str, bool]:
    """The user of a session, and whether it is a graphical session in use."""
    in_use = (
        session.get("Class") == "user"
        and session.get("Type") in _GRAPHICAL
        and session.get("Active") is True
        and session.get("IdleHint") is False
        and session.get("LockedHint") is not True
    )
    return printable(str(session.get("Name", "somebody")), 40), in_use


def _terminal(session: dict[str, object]) -> str:
    """The name of a session's terminal, empty if it has none."""
    tty = session.get("TTY")
    return tty if isinstance(tty, str) and session.get("Type") == "tty" and ".." not in tty else ""
