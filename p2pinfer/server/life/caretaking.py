"""A server that keeps a copy of the ends, if too few others do, so that clients can join."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from p2pinfer.backoff import jittered
from p2pinfer.errors import P2PInferError
from p2pinfer.model.layer_store.names import ENDS_FILE
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.sharing.caretakers import is_caretaker
from p2pinfer.sharing.give.limits import SharingLimits
from p2pinfer.sharing.holdings import Holdings
from p2pinfer.sharing.library import Library
from p2pinfer.swarm.swarm import Swarm

logger = logging.getLogger(__name__)

LOOK_SECONDS = 600.0
"""Between two looks at who holds the ends; the first comes after one such time, too. Servers that stay for
minutes only need no copy."""


async def keep_ends_forever(
    swarm: Swarm,
    library: Library,
    store: LayerStore,
    holdings: Holdings,
    limits: Callable[[], SharingLimits],
    *,
    look_seconds: float = LOOK_SECONDS,
) -> None:
    """Get the ends when this server's turn has come. Nothing that fails here ends the service.

    An owner who gives nothing to others keeps nothing for them either.
    """
    while True:
        await asyncio.sleep(jittered(look_seconds))
        if not limits().enabled or holdings.holds(store.manifest.end_files):
            continue
        try:
            if is_caretaker(await swarm.servers(store.manifest.hash), swarm.peer_id):
                await library.complete_description(store)
                await library.fetch(store, (ENDS_FILE,), holdings, makes_room=False)
                for name in store.manifest.end_files:
                    holdings.file_done(name)
        except P2PInferError as error:
            logger.info("no copy of the ends for clients is kept here: %s", error)
