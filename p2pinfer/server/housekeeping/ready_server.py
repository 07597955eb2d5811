"""A server that is ready, as housekeeping sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from p2pinfer.server.sessions.session_runner import SessionRunner
from p2pinfer.server.sessions.session_table import SessionTable
from p2pinfer.swarm.reach.report import ReachReport
from p2pinfer.types import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyServer:
    """A server that is in the swarm with its layers: what can be read from it, and what can be changed."""

    layers: Span
    model_name: str
    sessions: SessionTable
    runner: SessionRunner
    reach: Callable[[], ReachReport]  # how others reach it now
    daemon_pid: Callable[[], int | None]  # the process of p2pd now; None while it is started again
    announce_soon: Callable[[], None]  # doesn't wait for the next heartbeat
