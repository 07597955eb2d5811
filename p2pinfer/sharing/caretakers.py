"""Which servers keep a copy of what every client needs: tokenizer and ends. Pure.

A server's share has only layers. If the few that hold the ends drive off, nobody can join as a client any
more, though every layer is there. So a model's servers see to it that some of them hold the ends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from p2pinfer.swarm.records.announcement import Announcement, ServerState
from p2pinfer.types import PeerId

WANTED_COPIES = 3


def is_caretaker(servers: Iterable[Announcement], us: PeerId) -> bool:
    """True if this server should get a copy now. `servers` are those of its model, and it is among them.

    Where copies are missing, the first ones by a rank that differs from model to model get them: all servers
    come to the same result without asking each other. A server that leaves soon counts as gone.
    """
    serving = [server for server in servers if server.state is ServerState.SERVING]
    missing = WANTED_COPIES - sum(server.holds_ends for server in serving)
    if missing <= 0:
        return False
    others = sorted((server for server in serving if not server.holds_ends), key=_rank)
    return us in [server.peer_id for server in others[:missing]]


def _rank(server: Announcement) -> bytes:
    return hashlib.sha256(f"ends {server.model} {server.peer_id}".encode()).digest()
